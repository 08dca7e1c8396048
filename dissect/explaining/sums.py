"""The lead of a class as a sum whose figures add up when they are read, and how few of them are needed."""

from dataclasses import dataclass

from ..numbers import add_up
from .explanation import Explanation


@dataclass(frozen=True)
class LeadParts:
    """What the lead is the sum of, each rounded to two digits so that they add up to `total`."""

    units: list[float]  # one by one
    lost: list[float]  # with each of them switched off; the same figure where it is the same
    others: float
    without: float  # the layer off; of a decision layer the bias
    missed: float
    total: float


def lead_parts(explanation: Explanation) -> LeadParts:
    """The parts of the explanation's lead."""
    lead = explanation.lead
    parts = [*(effect.to_lead for effect in explanation.units), lead.others, lead.without, lead.missed]
    *units, others, without, missed = add_up(parts)
    lost = [shown + e.off.lead - e.to_lead for shown, e in zip(units, explanation.units, strict=True)]
    return LeadParts(units, lost, others, without, missed, total=round(sum((*units, others, without, missed)), 2))


def needed(explanation: Explanation) -> str:
    """How few winners of a decision layer would do; "" where that is not known."""
    enough, change = explanation.sufficient, explanation.necessary
    if enough is None:
        return ""
    alone = f"The {_strongest(enough)} alone would" if enough else "The fixed part of the classes alone would"
    if change is None:
        return f"{alone} give the same answer, and no unit's absence changes it."
    return f"{alone} give the same answer; without the {_strongest(change)} the answer changes."


def _strongest(units: int) -> str:
    return "strongest unit" if units == 1 else f"strongest {units} units"
