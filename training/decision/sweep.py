"""Several decision layers on the same features at once: accuracy against the number of units that carry a decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from competition_layers import DecisionLayer, votes
from competition_layers.decision_figures import sufficient_units, units_for_lead
from competition_layers.files import write_file

from .fitting import Fitting, checked_classes, fit_decisions, logits_of

_READ = 2048  # held-out images that the numbers of units are read of


@dataclass(frozen=True)
class SweepRow:
    """One setting, read on held-out images."""

    decision: DecisionLayer
    accuracy: float
    active_units: float  # mean number of units that win somewhere in an image
    deciding_units: float  # median number of units that carry 90 % of the lead
    sufficient_units: float  # median number of units that give the prediction without the others
    dead_units: float  # share of units that win nowhere


def sweep(
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    decisions: Sequence[DecisionLayer],
    *,
    fitting: Fitting = Fitting(),  # noqa: B008
) -> list[SweepRow]:
    """Fit every setting on features and labels, read each on others, and give the table; see `sweep_plot`.

    Raises:
        ValueError: features and labels that do not go together, settings for features of another shape, or none.
    """
    if not decisions:
        raise ValueError("Expected at least one decision layer to sweep but got an empty list")
    (features, labels), (others, other_labels) = train, held_out
    classes = max(checked_classes(features, labels, None), checked_classes(others, other_labels, None))
    if others.shape[1:] != features.shape[1:]:
        raise ValueError(
            f"Expected held-out features of shape {list(features.shape[1:])}, as those that are trained on, but got "
            f"{list(others.shape[1:])}"
        )
    heads = fit_decisions(features, labels, decisions, classes=classes, fitting=fitting)
    rows = []
    for decision, head in zip(decisions, heads, strict=True):
        found = votes(head, others[:_READ].float())
        won = found.by_unit(torch.ones_like(found.values)) > 0
        rows.append(
            SweepRow(
                decision,
                accuracy=(logits_of(head, others).argmax(1) == other_labels).float().mean().item(),
                active_units=won.sum(1).float().mean().item(),
                deciding_units=units_for_lead(found).float().median().item(),
                sufficient_units=sufficient_units(found).float().median().item(),
                dead_units=(~won.any(0)).float().mean().item(),
            )
        )
    return rows


def sweep_table(rows: Sequence[SweepRow]) -> str:
    """The rows as Markdown, the most accurate first."""
    lines = [
        "| units | competitors | at | balance | accuracy | active | for 90 % | sufficient | dead |",
        "|---" * 9 + "|",
    ]
    for row in sorted(rows, key=lambda row: -row.accuracy):
        d = row.decision
        lines.append(
            f"| {d.units} | {d.competitors} | {d.at} | {d.balance:g} | {row.accuracy:.4f} | {row.active_units:.1f} "
            f"| {row.deciding_units:g} | {row.sufficient_units:g} | {100 * row.dead_units:.1f} % |"
        )
    return "\n".join(lines)


def sweep_plot(rows: Sequence[SweepRow], path: str | Path) -> Path:
    """Write a picture (the ending says of which kind): accuracy over the units that carry 90 % of the lead."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.plot(row.deciding_units, 100 * row.accuracy, "o", color="tab:blue")
        label = f"{row.decision.units} / {row.decision.competitors}"
        axes.annotate(label, (row.deciding_units, 100 * row.accuracy), (4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="units that carry 90 % of the lead (median)", ylabel="accuracy on held-out images (%)")
    axes.set_title("Decision layers: units / competitors")
    axes.margins(x=0.12)  # room for the last point's label
    axes.grid(alpha=0.3)
    path = Path(path)
    with write_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png")
    return path
