"""Numbers of the competition that change while a network trains: the scale of its noise, its temperature."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from competition_layers.checks import check_choice, check_number
from competition_layers.competition import Competition

Shape = Literal["linear", "cosine", "exponential"]


@dataclass(frozen=True)
class Schedule:
    """From the competition's own value to `end` over the first `until` of training, then `end`.

    Args:
        shape: `linear`; `cosine`, slow at both ends; `exponential`, by a constant factor a step (both ends above 0).

    >>> [Schedule(0.0, until=0.5).value(1.0, share) for share in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.5, 0.0, 0.0]
    """

    end: float
    until: float = 0.7
    shape: Shape = "linear"

    def __post_init__(self):
        check_number("end", self.end, least=0)
        check_number("until, a share of training,", self.until, above=0, most=1)
        check_choice("shape", self.shape, get_args(Shape))

    def value(self, start: float, share: float) -> float:
        """The value after `share` (0 to 1) of training that began with `start`.

        Raises:
            ValueError: `exponential` from or to 0.
        """
        done = min(1.0, max(0.0, share) / self.until)
        if self.shape == "exponential":
            if min(start, self.end) <= 0:
                raise ValueError(f"Expected both ends above 0 for 'exponential' but got {start} and {self.end}")
            return start * (self.end / start) ** done
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return start + (self.end - start) * done


@dataclass(frozen=True)
class Annealing:
    """What of a competition changes while the network trains; the value at the end is saved with the model.

    Args:
        noise_scale: of the Gumbel noise.
        temperature: of the straight-through gradient.
    """

    noise_scale: Schedule | None = None
    temperature: Schedule | None = None

    def at(self, competition: Competition, share: float) -> Competition:
        """The competition after `share` (0 to 1) of training that began with `competition`."""
        if self.noise_scale is not None:
            competition = replace(competition, noise_scale=self.noise_scale.value(competition.noise_scale, share))
        if self.temperature is not None:
            competition = replace(competition, temperature=self.temperature.value(competition.temperature, share))
        return competition
