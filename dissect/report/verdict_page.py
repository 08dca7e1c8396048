"""The judge's tables as a page: methods by measures, each beside what it must beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..judging.judge import LayerVerdicts
from ..judging.measures import MEASURES
from ..judging.verdicts import Verdict, by_cell
from .render import render_page
from .verdict_text import heading, in_order, lead_lines, line_title, measures_of, passes, skipped_lines, units_of

BARS = ("constant", "shuffled", "random")  # labels that say nothing of a unit


@dataclass(frozen=True)
class Cell:
    """A number, half of its interval ("" for what is compared with), and whether it fails to beat labels that say
    nothing: its interval reaches down to one of them."""

    mean: str
    half: str
    beaten: bool


@dataclass(frozen=True)
class Line:
    """A line of the table: a method, or what it is compared with."""

    title: str
    control: bool
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Page:
    """One layer's table as it is shown."""

    title: str
    dissections: str
    columns: tuple[tuple[str, str, str, str], ...]  # measure, what it is, sanity tests, units
    lines: tuple[Line, ...]
    leads: tuple[str, ...]


def render_verdicts(
    path: str | Path,
    tables: Sequence[tuple[str, LayerVerdicts]],
    *,
    made: Mapping[str, str] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write the page of all `tables` (each with the dissections that it is of), whole or not at all.

    Args:
        made: lines for "How these numbers were made".
        pages: titles and file names of the pages beside it, itself among them.
    """
    return render_page(
        path,
        "verdicts.html.j2",
        title="Which descriptions to believe",
        layers=[_page(dissections, table) for dissections, table in tables],
        measures={name: MEASURES[name].about for name in measures_of(*(table for _, table in tables))},
        made=made or {},
        pages=pages,
    )


def _page(dissections: str, table: LayerVerdicts) -> Page:
    cells, measures = by_cell(table.verdicts), measures_of(table)
    layer = table.methods.layer
    lines = []
    for method, control in dict.fromkeys((each.method, each.control) for each in in_order(table)):
        found = [cells.get((layer, method, control, name)) for name in measures]
        bars = [[cells.get((layer, method, bar, name)) for bar in BARS] for name in measures]
        shown = tuple(_cell(each, below) for each, below in zip(found, bars, strict=True))
        lines.append(Line(line_title(method, control), bool(control), shown))
    columns = tuple((name, MEASURES[name].about, passes(name), units_of(cells, table, name)) for name in measures)
    return Page(
        heading(table),
        dissections,
        columns,
        tuple(lines),
        tuple(map(str.strip, (*skipped_lines(table), *lead_lines(table)))),
    )


def _cell(found: Verdict | None, bars: Sequence[Verdict | None]) -> Cell | None:
    if found is None or found.mean != found.mean:
        return None
    if found.control:
        return Cell(f"{found.mean:.2f}", "", False)
    beaten = any(bar is not None and found.low <= bar.mean for bar in bars)
    return Cell(f"{found.mean:.2f}", f"{(found.high - found.low) / 2:.2f}", beaten)
