"""What is known about a unit, and the names it might have."""

from dataclasses import dataclass

from .evidence import FALSE_DISCOVERIES, Evidence

FITTED = "lwta"  # the describer whose candidates hold together, each with its weight as `similarity`
OUTCOMES = ("named", "weak", "chance", "rival", "too few images")


@dataclass(frozen=True)
class Candidate:
    """One possible name of a unit; `similarity` is on the scale of the describer that proposes it (`method`)."""

    description: str
    similarity: float
    method: str


@dataclass(frozen=True)
class Description:
    """What is known about a unit. `description` is empty where no name was verified.

    `support` counts the images that the unit won (no competition: those above its smallest value), `win_rate` is the
    share of positions won and `mean_when_winning` the mean value there; both are `None` for units that do not
    compete. The `candidates` of each method are distinct, best first; `margin` is by how much the first is more similar
    than the second of its method. `evidence` is that for the first, whether it became the name or not.
    """

    layer: str
    unit: int
    description: str
    similarity: float
    win_rate: float | None
    mean_when_winning: float | None
    support: int
    candidates: tuple[Candidate, ...] = ()
    margin: float | None = None
    evidence: Evidence | None = None

    @property
    def named(self) -> bool:
        return bool(self.description)

    @property
    def meanings(self) -> tuple[Candidate, ...]:
        """What the unit means together, with weights, where its name was fitted; one, or none, of any other."""
        said = tuple(one for one in self.candidates if one.method == FITTED)
        return said if said and said[0].description == self.description else ()

    @property
    def outcome(self) -> str:
        """`named`, or why not: `too few images`, `chance` (no better), a `rival` predicts it better, or `weak`: it
        predicts the unit, but less than was asked for."""
        if self.named:
            return "named"
        if self.evidence is None:
            return "too few images"
        if self.evidence.stands:
            return "weak"
        return "rival" if self.evidence.rival and self.evidence.p <= FALSE_DISCOVERIES else "chance"
