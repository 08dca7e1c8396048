"""Functions that return networks, as a user's module has them, and some that return nonsense."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WORDS = {"input_size": (3, 16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Own(nn.Module):
    """Two layers, pooled; an activation is a module, or a function that nothing can compete in."""

    label_names = ("boat", "palm", "sun")

    def __init__(self, width: int = 8, function: bool = False):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, width, 3), nn.Identity() if function else nn.ReLU()
        self.pool, self.flat, self.answer = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3)
        self.function = function

    def forward(self, x):
        h = self.conv(x)
        return self.answer(self.flat(self.pool(F.relu(h) if self.function else self.act(h))))


class Bent(Own):
    """With something behind its classifier that bends."""

    def forward(self, x):
        return super().forward(x).tanh()


class Twice(Own):
    """Its answer is a sum of two."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 3)

    def forward(self, x):
        return super().forward(x) + self.other(self.conv(x).mean((2, 3)))


def trained(width: int = 8, function: bool = False) -> Own:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Own(width, function)


def in_words(width: int = 8):
    return trained(width), WORDS


def with_functions():
    return trained(function=True), WORDS


def with_transform():
    return trained(), to_input


def with_classifier():
    return Bent(), WORDS, "answer"


def without_classifier():
    return Twice(), WORDS


def to_input(picture):
    pixels = np.array(picture.resize((16, 16)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def alone():
    return trained()


def text():
    return "a path"


def other_word():
    return trained(), {"input_sizes": (3, 16, 16)}


def other_size():
    return trained(), {"input_size": 16}


def number():
    return trained(), 3


def other_classifier():
    return trained(), WORDS, "anser"


def other_form():
    return trained(), lambda picture: np.array(picture)


def many_sizes():
    return trained(), lambda picture: torch.zeros(3, *picture.size)


ONCE = trained()


def same_again():
    return ONCE, WORDS
