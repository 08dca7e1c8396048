"""Where what is stated about a decision and what was measured disagree: this is said before anything else."""

from ..numbers import loss, percent, signed
from .checks import APART, MATTERS, STEADY
from .explanation import Explanation


def disagreements(explanation: Explanation) -> tuple[str, ...]:
    """A sentence for each check that speaks against the explanation; none where all agree."""
    found = [*_switched_off(explanation)]
    checks = explanation.checks
    if checks is not None and len(checks.curves.counts) > 2:
        curves = checks.curves
        if curves.deletion_area >= curves.random_deletion_area and explanation.lead.total > 0:
            found.append(
                f"Switching units off by what they added ruins the answer no sooner than in random order (mean "
                f"probability {percent(curves.deletion_area)} against {percent(curves.random_deletion_area)})"
            )
    if checks is not None and checks.stability is not None:
        pairs = zip(explanation.units, checks.stability.units, strict=True)
        least = MATTERS * abs(explanation.lead.total)
        shaky = [(e, kept) for e, kept in pairs if abs(e.to_lead) >= least and min(kept.noise, kept.shifts) < STEADY]
        if shaky:
            effect, kept = shaky[0]
            often = "the time" if effect.win_share is None else "its places"
            others = f"; so do {len(shaky) - 1} more of these units" if len(shaky) > 1 else ""
            found.append(
                f"{effect.label} wins only {percent(min(kept.noise, kept.shifts))} of {often} again when the "
                f"picture has a little noise or is shifted by a few pixels{others}"
            )
    return tuple(found)


def _switched_off(explanation: Explanation) -> list[str]:
    stated, measured, drawn = explanation.lead.units, explanation.together.lead, explanation.random_lead
    found = []
    if abs(stated - measured) > APART * abs(stated):
        found.append(
            f"Figure by figure these units add {signed(stated)} to the lead, but without them it "
            f"{loss(measured)}: the second is what happens"
        )
    if drawn is not None and abs(drawn) >= abs(measured):
        found.append(
            f"As many other {explanation.at.speakers}, drawn at random, change the lead as much: {signed(drawn)} "
            f"against {signed(measured)}"
        )
    wrong = [e for e in explanation.units if e.to_lead * e.off.lead < 0]
    if wrong:
        found.append(
            f"{wrong[0].label} should add {signed(wrong[0].to_lead)}, but without it the lead {loss(wrong[0].off.lead)}"
        )
    return found
