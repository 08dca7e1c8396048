"""What was measured beside what is stated about one image."""

from dataclasses import dataclass

APART = 0.2  # of the stated loss: estimates that miss more are said to
MATTERS = 0.1  # of the lead: units that add less are not spoken of
STEADY = 0.5  # a unit that wins fewer of its places again is a matter of chance


@dataclass(frozen=True)
class UnitCurves:
    """The probability of the explained class, with `counts` of the layer's units switched off and with those alone on.

    Units are taken by what they added to the lead, the largest first. An area is the mean height over the number of
    units: 1 at most; of deletion the smaller, of insertion the larger is the better account. `random_*` are the areas
    in random order.
    """

    counts: tuple[int, ...]
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion_area: float
    insertion_area: float
    random_deletion_area: float
    random_insertion_area: float
    sufficient: int | None  # the first of `counts` that gives the answer alone; None: not even all units do
    necessary: int | None  # the first whose absence changes it; None: none does


@dataclass(frozen=True)
class UnitStability:
    """The share of the places where a unit won, and from which the answer can be moved, that it wins again; the mean
    over runs. `draws` is None of networks without noise."""

    draws: float | None
    noise: float
    shifts: float


@dataclass(frozen=True)
class Stability:
    """Of the units shown, in their order; and in which share of the runs the network's answer stays."""

    units: tuple[UnitStability, ...]
    answer: UnitStability


@dataclass(frozen=True)
class Checks:
    """Measured on the network itself, with units off or pictures a little changed."""

    curves: UnitCurves
    stability: Stability | None  # None where nothing competes
