"""A decision in words, made of its figures and of nothing else."""

from collections.abc import Sequence

from ..numbers import loss, percent, signed
from .explanation import Explanation, UnitEffect
from .sums import lead_parts

FOR, AGAINST = 3, 2  # units that the sentence names at most


def sentence_of(explanation: Explanation) -> str:
    """What decided: the units that added most to the lead, with their places, and the strongest against it.

    Of a layer that does not explain the decision: how little of the lead its units carry.
    """
    target, runner_up = explanation.target, explanation.runner_up
    if not explanation.explains:
        return (
            f"{target}, but not because of these units: together they carry {percent(explanation.share)} of its lead "
            f"over {runner_up}"
        )
    added = list(zip(explanation.units, lead_parts(explanation).units, strict=True))
    ahead = [(effect, by) for effect, by in added if by > 0]
    behind = [(effect, by) for effect, by in added if by < 0]
    behind_it = [each.label for each in explanation.classes if each.label != target][:1]
    said = target if runner_up in behind_it else f"{target} and not {runner_up}"
    if explanation.lead.total < 0:  # a class was asked for that is not the predicted one
        said, ahead, behind = f"{runner_up} and not {target}", behind, ahead
    because = f", because {_listed(ahead[:FOR])}" if ahead else ""
    against = f", against {_listed(behind[:AGAINST])}" if behind else ""
    return said + because + against


def further_words(explanation: Explanation) -> tuple[str, ...]:
    """What was measured, in a sentence or two: the network without these units, and with a picture a little changed."""
    off, drawn, count = explanation.together, explanation.random_lead, len(explanation.units)
    units = "this unit" if count == 1 else f"these {count} units"
    still = "still " if off.label == explanation.label else ""
    then = f"and the network {still}says {off.label}, {percent(off.probability)}"
    said = [f"With {units} off the lead {loss(off.lead)}, {then}."]
    if drawn is None:
        left = explanation.passed - count
        said.append(f"Too few other {explanation.at.speakers} are left ({left}) to switch off as many at random.")
    else:
        said.append(f"With as many other {explanation.at.speakers} off, drawn at random, the lead {loss(drawn)}.")
    again = explanation.checks.stability if explanation.checks else None
    if again is not None:
        noise, shifts = percent(again.answer.noise), percent(again.answer.shifts)
        said.append(
            f"With a little noise the answer stays in {noise} of the runs, shifted by a few pixels in {shifts}."
        )
    missed = _why_not_shown(explanation)
    return (missed, *said) if missed else tuple(said)


def _why_not_shown(explanation: Explanation) -> str:
    """How far the class that the picture shows is behind, and the unit that put it there; "" where that is told
    already, or where there is no decision layer to add it up."""
    truth, label, votes = explanation.truth, explanation.label, explanation.switches
    if (
        votes is None
        or not explanation.units
        or truth not in votes.labels
        or truth in (label, explanation.target, explanation.runner_up)
    ):
        return ""
    said, shown = votes.labels.index(label), votes.labels.index(truth)
    apart = [row[said] - row[shown] for row in votes.votes]
    effect, most = max(zip(explanation.units, apart, strict=False), key=lambda each: each[1])
    behind = sum(apart) + votes.bias[said] - votes.bias[shown]
    by = f"of these units mostly by {effect.label} ({signed(most)})"
    return f"{truth}, which it shows, is {behind:.2f} behind {label}, {by}."


def other_layer(explanation: Explanation) -> str:
    """Which layer explains the decision where this one does not; "" where it does."""
    if explanation.explains:
        return ""
    if explanation.at.decision:
        others = f"Other {explanation.at.speakers} and the fixed part of the classes"
        return f"{others} carry the rest of the lead: --top shows more of them"
    here = f"{explanation.at.layer} does not explain this decision"
    if explanation.instead is None:
        return f"{here}, and no other layer's few units do; a network that ends in a decision layer says what decided"
    share = percent(explanation.instead.share)
    return f"{here}; {explanation.instead.layer} does: its strongest units carry {share} of the lead"


def _listed(effects: Sequence[tuple[UnitEffect, float]]) -> str:
    return ", ".join(
        f"{effect.label} {signed(by)}" + (f" ({effect.place})" if effect.place else "") for effect, by in effects
    )
