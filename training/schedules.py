"""A number that changes while a network trains: the scale of the noise, the temperature of the gradient."""

import math
from dataclasses import dataclass
from typing import Literal

SHAPES = ("linear", "cosine", "exponential")


@dataclass(frozen=True)
class Schedule:
    """From `start` to `end` over the first `until` of training, then `end`.

    Args:
        shape: `linear`; `cosine`, slow at both ends; `exponential`, by a constant factor a step (both ends above 0).

    >>> [Schedule(1.0, 0.0, until=0.5).at(share) for share in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.5, 0.0, 0.0]
    """

    start: float
    end: float
    until: float = 0.7
    shape: Literal["linear", "cosine", "exponential"] = "linear"

    def __post_init__(self):
        if not 0 < self.until <= 1:
            raise ValueError(f"Expected until in (0, 1], a share of training, but got {self.until}")
        if self.shape not in SHAPES:
            raise ValueError(f"Expected a shape among {', '.join(SHAPES)} but got {self.shape!r}")
        if self.shape == "exponential" and min(self.start, self.end) <= 0:
            raise ValueError(f"Expected both ends above 0 for 'exponential' but got {self.start} and {self.end}")

    def at(self, share: float) -> float:
        """The value after `share` (0 to 1) of training."""
        done = min(1.0, max(0.0, share) / self.until)
        if self.shape == "exponential":
            return self.start * (self.end / self.start) ** done
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done


def value_at(value: float | Schedule, share: float) -> float:
    """A schedule's value after `share` of training; a plain number is always itself."""
    return value.at(share) if isinstance(value, Schedule) else float(value)
