"""What decides each class: page, JSON and terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from competition_layers.attribution import METHODS
from competition_layers.terminal import aligned, plain

from ..explaining.class_summary import ClassReport
from ..explaining.explanation import Explanation
from ..numbers import signed
from .record import classes_record, write_json
from .render import render_page


def render_classes(
    path: str | Path,
    report: ClassReport,
    *,
    explained: Sequence[Explanation] = (),
    pages: Mapping[str, str] | None = None,
    made: Mapping[str, str] | None = None,
) -> Path:
    """Write the page to `path` and its figures as JSON beside it, each whole or not at all.

    Args:
        explained: the first of the report's mistakes, as they stand on the page "Mistakes" of `pages`.
        pages: titles and file names of the pages beside it, itself among them; units and mistakes link there.
        made: lines for "How these numbers were made".
    """
    record = write_json(Path(path).with_suffix(".json"), classes_record(report))
    only = report.classes[0].label if len(report.classes) == 1 else "each class"
    return render_page(
        path,
        "classes.html.j2",
        title=f"What decides {only}?",
        report=report,
        explained=explained,
        pages=pages,
        methods=METHODS,
        record=record.name,
        made=made or {},
    )


def classes_text(report: ClassReport) -> str:
    """A block for each class, and a line for each mistake."""
    lines = []
    for summary in report.classes:
        truth = (
            "" if summary.right is None else f", {summary.right} rightly; {summary.missed} of it are called otherwise"
        )
        lines.append(
            plain(f"{summary.label}: {summary.pictures} pictures are called so{truth}; mean lead {summary.lead:.2f}")
        )
        rows = [("unit", "name", "to lead", "a tenth of it in")]
        rows += [
            (str(u.unit), u.named.name or "unnamed", signed(u.to_lead), f"{u.pictures} of {summary.pictures}")
            for u in summary.units
        ]
        lines += [
            *aligned(rows, left=(1,)),
            f"  others {signed(summary.others)}, without this layer {signed(summary.without)}",
            "",
        ]
    lines.append(f"{len(report.mistakes)} mistakes")
    if report.mistakes:
        table = [("picture", "shows", "is called", "by", "most of it from", "adds", "without that unit")]
        table += [
            (m.image, m.truth, m.predicted, signed(m.lead), m.label, signed(m.added), m.without)
            for m in report.mistakes
        ]
        lines += aligned(table, left=(0, 1, 2, 4, 6))
    return "\n".join(lines)
