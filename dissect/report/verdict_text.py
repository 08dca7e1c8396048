"""The judge's tables for a terminal."""

from collections.abc import Mapping, Sequence

from competition_layers.terminal import aligned, plain

from ..judging.judge import UNTRAINED, LayerVerdicts
from ..judging.measures import MEASURES
from ..judging.sanity import sanity
from ..judging.verdicts import Verdict, by_cell

UNREAD = "a label that the judge does not read"
NO_RIVAL = "a unit that wins none of the images alone, or whose rivals are not judged"
WHY_NOT = {
    **dict.fromkeys(("score", "pictures", "effect", "class", "sentence"), UNREAD),
    "drawn": "a label of which nothing is made",
    "truth": "a label that is known to be true of no held-out image, or false of none",
}


def verdict_text(table: LayerVerdicts) -> str:
    """One layer: a line a method with half of the 95 % interval, and a line for each thing that it must beat."""
    cells = by_cell(table.verdicts)
    measures = measures_of(table)
    rows: list[tuple[str, ...]] = [("", *measures), ("sanity tests", *map(passes, measures))]
    for method, control in dict.fromkeys((each.method, each.control) for each in in_order(table)):
        found = [cells.get((table.methods.layer, method, control, name)) for name in measures]
        title = method if not control else "  " + line_title(method, control)
        rows.append((title, *(number(each, bare=bool(control)) for each in found)))
    units = ("units", *(units_of(cells, table, name) for name in measures))
    notes = map(plain, (*skipped_lines(table), *lead_lines(table)))
    return "\n".join([plain(heading(table)), *aligned([*rows, units], left=(0,)), *notes])


def line_title(method: str, control: str) -> str:
    """What a line is called; methods on random weights stand under no method of the table."""
    return f"{method}, {control}" if control == UNTRAINED else control or method


def measures_of(*tables: LayerVerdicts) -> list[str]:
    """The columns of some tables."""
    return [name for name in MEASURES if any(each.measure == name for table in tables for each in table.verdicts)]


def measures_text(measures: Sequence[str]) -> list[str]:
    """What each column is, a line each."""
    width = max(map(len, measures))
    return [f"  {name:{width}}  {MEASURES[name].about}" for name in measures]


def heading(table: LayerVerdicts) -> str:
    """How many units of the layer are judged, and who left the others out."""
    field = table.methods
    lacking = [f"{count} by {method}" for method, count in field.missing.items() if count]
    alike = len(set(field.missing.values())) == 1
    skipped = f"{next(iter(field.missing.values()))} by each" if alike else ", ".join(lacking)
    held_out = f"{table.images} held-out images" + (f"; not described: {skipped}" if lacking else "")
    return f"{field.layer}: {len(field.units)} of {field.of} units, {held_out}"


def in_order(table: LayerVerdicts) -> list[Verdict]:
    """Method by method, in the order of the first line of each."""
    place = {method: i for i, method in enumerate(dict.fromkeys(each.method for each in table.verdicts))}
    return sorted(table.verdicts, key=lambda each: place[each.method])


def lead_lines(table: LayerVerdicts) -> list[str]:
    """In what the first method is clearly ahead of the others, or behind: the interval of the paired difference."""
    lines = []
    for other in dict.fromkeys(lead.other for lead in table.leads):
        found = [lead for lead in table.leads if lead.other == other and lead.low == lead.low]
        ahead = [f"{lead.measure} {lead.mean:+.2f}" for lead in found if lead.low > 0]
        behind = [f"{lead.measure} {lead.mean:+.2f}" for lead in found if lead.high < 0]
        level = [lead.measure for lead in found if lead.low <= 0 <= lead.high]
        parts = (("ahead in", ahead), ("behind in", behind), ("level in", level))
        said = "; ".join(f"{words} {', '.join(names)}" for words, names in parts if names)
        lines.append(f"  {found[0].method if found else ''} and {other}: {said}")
    return lines


def skipped_lines(table: LayerVerdicts) -> list[str]:
    """Why a column judges fewer units than the table has."""
    cells, reasons = by_cell(table.verdicts), dict[tuple[int, str], list[str]]()
    for name in measures_of(table):
        skipped = len(table.methods.units) - int(units_of(cells, table, name) or 0)
        why = NO_RIVAL if name == "rivals" else WHY_NOT[MEASURES[name].reads]
        if skipped:
            reasons.setdefault((skipped, why), []).append(name)
    return [f"  {count} not judged in {', '.join(names)}: {why}" for (count, why), names in reasons.items()]


def units_of(cells: Mapping[tuple[str, str, str, str], Verdict], table: LayerVerdicts, measure: str) -> str:
    """How many units a measure judges."""
    counts = [v.units for v in cells.values() if v.measure == measure and not v.control]
    return str(max(counts)) if counts else ""


def passes(measure: str) -> str:
    """How a measure stands the sanity tests."""
    found = sanity(MEASURES[measure])
    if found.passes:
        return "pass"
    return "fail missing" if found.missing <= found.extra else "fail extra"


def number(found: Verdict | None, *, bare: bool) -> str:
    if found is None or found.mean != found.mean:
        return ""
    return f"{found.mean:.2f}" if bare else f"{found.mean:.2f} ±{(found.high - found.low) / 2:.2f}"
