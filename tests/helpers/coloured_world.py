"""A world of three colours: pictures with a square in one corner, and an encoder that sees which."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from dissect.backends.answers import picture_hash

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def picture(colour, seed=0, side=16):
    """Dark, with a square of a colour in one corner."""
    pixels = np.random.default_rng(seed).integers(0, 30, (side, side, 3)).astype(np.uint8)
    pixels[1 : side // 2, 1 : side // 2] = COLOURS[colour]
    return Image.fromarray(pixels)


class Colours:
    """Encoder, captioner and text-to-image of a world of three colours; counts captions."""

    identity = "colours"

    def __init__(self):
        self.captioned = []

    def preprocess(self, image):
        """The mean colour, and numbers of the picture's own: else all pictures of a colour were one."""
        own = torch.Generator().manual_seed(int(picture_hash(image)[:8], 16))
        return torch.cat([torch.from_numpy(np.array(image)).float().mean((0, 1)), torch.randn(16, generator=own)])

    def encode_batch(self, x):
        colour = x[:, :3] - x[:, :3].mean(1, keepdim=True)
        return nn.functional.normalize(torch.cat([nn.functional.normalize(colour, dim=1), 0.2 * x[:, 3:]], 1), dim=1)

    def encode_images(self, probe):
        return self.encode_batch(torch.stack([self.preprocess(probe[i]) for i in range(len(probe))]))

    def encode_texts(self, concepts):
        rows = [[float(colour in name) for colour in COLOURS] for name in concepts.names]
        return nn.functional.pad(nn.functional.normalize(torch.tensor(rows) + 0.01, dim=1), (0, 16))

    def known(self, concepts):
        return concepts, 0

    def caption(self, pictures):
        self.captioned += pictures
        best = [np.array(one).mean((0, 1)).argmax() for one in pictures]
        return [f"A {list(COLOURS)[at]} square on a dark ground" for at in best]

    def draw(self, phrase, count):
        colour = next((colour for colour in COLOURS if colour in phrase), None)
        return [picture(colour, 100 + i) for i in range(count)] if colour else []


def redness_and_others():
    """Three units that are how red, green and blue a place is, more than the others."""
    convolution = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        convolution.weight.copy_(torch.eye(3)[:, :, None, None] - 0.5)
        convolution.bias.zero_()
    return nn.Sequential(convolution, nn.ReLU()).eval()
