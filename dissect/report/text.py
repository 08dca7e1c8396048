"""The same findings for a terminal."""

from collections.abc import Sequence
from pathlib import Path

from ..comparing.comparing import Comparison
from ..explaining.explanation import Explanation
from ..naming.description import OUTCOMES
from .numbers import duration, percent, signed


def explanation_text(explanation: Explanation) -> str:
    """One image: the prediction, and a line for each unit."""
    best, second = explanation.classes[:2]
    truth = f" (it shows: {explanation.truth})" if explanation.truth not in ("", best.label) else ""
    won = f"{explanation.passed} of them won where it counts, " if explanation.competitors > 1 else ""
    head = [
        f"{Path(explanation.image).name}: {best.label} {percent(best.probability)}{truth}, "
        f"{explanation.margin:.2f} ahead of {second.label}",
        f"  {explanation.layer}: {explanation.width} units, {won}{explanation.deciding} make 90 % of the contributions "
        f"to that lead ({explanation.method})",
    ]
    rows = [("unit", "name", "value", "won", "to logit", "to margin", "measured", "without it")]
    rows += [
        (
            str(effect.unit),
            effect.name or "unnamed",
            signed(effect.value),
            "" if effect.win_share is None else percent(effect.win_share),
            signed(effect.to_logit),
            signed(effect.to_margin),
            signed(effect.off.margin),
            f"{effect.off.label} {percent(effect.off.probability)}",
        )
        for effect in explanation.units
    ]
    together = explanation.together
    foot = (
        f"  all {len(explanation.units)} off: the lead loses {together.margin:.2f}, "
        f"the network says {together.label} {percent(together.probability)}"
    )
    return "\n".join([*head, *_aligned(rows, left=(1, 7)), foot])


def comparison_text(comparison: Comparison) -> str:
    """One line a network; with dissections one a layer too: how many of its units have a name."""
    rows = [
        (
            *("network", "U", "accuracy", "argmax", "1 draw", f"{comparison.samples} draws", "density", "eff. density"),
            *("kept (none)", "training", "ms/image", "parameters"),
        )
    ]
    for network in comparison.networks:
        accuracy, sparsity = network.accuracy, network.sparsity
        shares = (accuracy.saved, accuracy.argmax, accuracy.sample, accuracy.samples, sparsity.density)
        rows.append(
            (
                network.name,
                str(network.competitors) if network.competitors > 1 else "none",
                *("" if share is None else percent(share, 1) for share in shares),
                percent(sparsity.effective_density, 1),
                f"{percent(sparsity.kept, 1)} ({percent(sparsity.kept_without_any)})",
                "" if network.training_seconds is None else duration(network.training_seconds),
                f"{network.milliseconds:.2f}",
                f"{network.parameters:,}".replace(",", " "),
            )
        )
    lines = _aligned(rows, left=(0,))
    counts = [(network.name, names) for network in comparison.networks for names in network.names]
    if counts:
        header = ("network", "layer", "units", "named", "unnamed:", *OUTCOMES[1:], "distinct names")
        rows = [
            (
                *(name, names.layer, str(names.units), f"{names.outcomes['named']} ({percent(names.share)})", ""),
                *(str(names.outcomes[why]) for why in OUTCOMES[1:]),
                str(names.distinct),
            )
            for name, names in counts
        ]
        lines += ["", *_aligned([header, *rows], left=(0, 1))]
    if comparison.names_differ:
        lines.append(f"  The dissections differ in their {comparison.names_differ}: these counts are no comparison.")
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
