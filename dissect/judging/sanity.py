"""Two sanity tests of a measure: does it notice a label that is too narrow, and one that is too broad?

Oikarinen et al. (2025, sec. 4): of a unit whose label is exactly right, *missing labels* takes half of the label's
images away, *extra labels* adds as many wrong ones. A measure that rewards right labels falls both times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool
from torch import Tensor

from .measures import Measure
from .measures.seen import Seen

FREQUENCIES = (0.499, 0.1, 0.01, 0.001)  # of the images that a unit is on for
LEAST_FALL = 0.005  # of what a right label is worth above one that says nothing: the published verdicts follow
IMAGES, UNITS, RIVALS = 20_000, 8, 8


@dataclass(frozen=True)
class Sanity:
    """The smallest fall over the `FREQUENCIES`, as a share of what the right label is worth above a random one."""

    missing: float
    extra: float

    @property
    def passes(self) -> bool:
        return min(self.missing, self.extra) > LEAST_FALL


def sanity(measure: Measure, *, images: int = IMAGES, seed: int = 0) -> Sanity:
    """Both tests of a measure on made units; of a measure of classes, classes stand in the images' place."""
    return _smallest_falls(measure.of, images, seed)


@cache
def _smallest_falls(of: Callable[[Seen], Tensor], images: int, seed: int) -> Sanity:
    falls = [_falls(of, frequency, images, seed) for frequency in FREQUENCIES]
    return Sanity(*(min(column) for column in zip(*falls, strict=True)))


def _falls(of: Callable[[Seen], Tensor], frequency: float, images: int, seed: int) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(seed)

    def flipped(chance: float) -> Bool[Tensor, "images units"]:
        return torch.rand(images, UNITS, generator=generator) < chance

    truth, group = _competing(frequency, images, generator)
    narrow, broad = truth & ~flipped(0.5), truth | flipped(frequency / (1 - frequency))
    random = truth[torch.randperm(images, generator=generator)]

    def worth(label: Bool[Tensor, "images units"]) -> float:
        return float(of(Seen(truth.float(), label.float(), group)).nanmean())

    right, nothing = worth(truth), worth(random)
    return (right - worth(narrow)) / (right - nothing), (right - worth(broad)) / (right - nothing)


def _competing(
    frequency: float, images: int, generator: torch.Generator
) -> tuple[Bool[Tensor, "images units"], Tensor]:
    """Units that are on for this share of the images, in groups of which at most one is on."""
    rivals = min(RIVALS, int(1 / frequency))
    group = torch.arange(UNITS) // rivals
    drawn = torch.rand(images, UNITS // rivals, generator=generator)
    place = (drawn / frequency).floor()[:, group]
    return place == torch.arange(UNITS) % rivals, group
