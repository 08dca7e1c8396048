"""Which of many pictures to explain, and in what order: by right or wrong, class, lead. One pass in batches tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from competition_layers import evaluating, fixed_noise
from competition_layers.inference import logits_of

from .picture import network_input

BATCH = 32
Only = Literal["right", "wrong"]
Order = Literal["given", "lead", "class"]


@dataclass(frozen=True)
class Answer:
    """What the network says of a picture: the class by number, and its lead over the runner-up."""

    file: Path
    truth: str  # "" where it is not known what the picture shows
    label: str
    lead: float


@torch.no_grad()
def answers(model: nn.Module, files: Sequence[Path], truths: Sequence[str], labels: Sequence[str]) -> list[Answer]:
    """The answers to `files`, in their order. `labels`: the names of the classes, or none."""
    found: list[Answer] = []
    with evaluating(model), fixed_noise(model):
        for start in range(0, len(files), BATCH):
            part = slice(start, start + BATCH)
            logits = logits_of(model, torch.cat([network_input(model, file) for file in files[part]]))
            best, classes = logits.topk(2, dim=1)
            leads = (best[:, 0] - best[:, 1]).tolist()
            said = [labels[i] if labels else f"class {i}" for i in classes[:, 0].tolist()]
            found += map(Answer, files[part], truths[part], said, leads)
    return found


def select(found: Sequence[Answer], *, only: Only | None = None, order: Order = "given") -> list[Path]:
    """The pictures that are called rightly, or wrongly, in order: by lead, the least certain first, or by class.

    Raises:
        ValueError: it is not known what some pictures show, or none is left.
    """
    kept = list(found)
    if only is not None:
        unknown = next((answer for answer in found if not answer.truth), None)
        if unknown is not None:
            raise ValueError(
                f"Expected pictures in folders named as the network's classes, to know which answers are {only}, but "
                f"got {str(unknown.file)!r}"
            )
        kept = [answer for answer in found if (answer.label == answer.truth) == (only == "right")]
        if not kept:
            raise ValueError(f"Expected a picture with a {only} answer but none of the {len(found)} has one")
    if order == "lead":
        kept.sort(key=lambda answer: answer.lead)
    elif order == "class":
        kept.sort(key=lambda answer: answer.label)
    return [answer.file for answer in kept]
