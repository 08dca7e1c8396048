"""The tables of a dissection folder: descriptions, candidates, exemplars."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from competition_layers.cells import inert, plain
from competition_layers.files import write_file

from ..naming.description import Candidate, Description
from ..naming.evidence import Evidence
from .exemplars import Exemplar
from .layout import Layout

T = TypeVar("T")
Row = Mapping[str, str]

# the first four are what readers of CLIP-Dissect's and CoSy's files expect
EVIDENCE = ("predictability", "low", "high", "precision", "p", "q")
DESCRIPTIONS = (
    *("layer", "unit", "description", "similarity", "win_rate", "mean_when_winning", "support", "margin"),
    *(*EVIDENCE, "rival"),
)
CANDIDATES = ("layer", "unit", "rank", "description", "similarity", "method")
EXEMPLARS = ("layer", "unit", "rank", "image", "value")
OTHERS = ("concept", "label", *(f"Label {n}" for n in (1, 2, 3)))  # in tables of other tools
TEXTS = {"layer", "description", "summary", "rival", "method", "image", *OTHERS}  # kept from being formulas


def write_descriptions(layout: Layout, descriptions: Sequence[Description]) -> None:
    """`descriptions.csv`, exactly one row a unit, and `candidates.csv` with the further names; ranks count from 1 in
    each method."""
    write_table(
        layout.descriptions,
        DESCRIPTIONS,
        (
            (
                d.layer,
                d.unit,
                d.description,
                _number(d.similarity),
                _number(d.win_rate),
                _number(d.mean_when_winning),
                d.support,
                _number(d.margin),
                *(_number(getattr(d.evidence, name, None)) for name in EVIDENCE),
                d.evidence.rival if d.evidence else "",
            )
            for d in descriptions
        ),
    )
    write_table(
        layout.candidates,
        CANDIDATES,
        (
            (d.layer, d.unit, rank, c.description, _number(c.similarity), c.method)
            for d in descriptions
            for rank, c in _ranked(d.candidates)
        ),
    )


def write_annotations(path: Path, descriptions: Iterable[Description]) -> None:
    """The names of units as MILAN's annotations: `layer,unit,summary`, a row a named unit."""
    write_table(path, ("layer", "unit", "summary"), ((d.layer, d.unit, d.description) for d in descriptions if d.named))


def read_descriptions(layout: Layout) -> dict[tuple[str, int], Description]:
    """Every unit's description with its candidates."""
    candidates: dict[tuple[str, int], list[Candidate]] = {}
    for place, candidate in _read(layout.candidates, lambda row: (_place(row), _candidate(row))):
        candidates.setdefault(place, []).append(candidate)
    found = _read(layout.descriptions, lambda row: _description(row, candidates.get(_place(row), ())))
    return {(one.layer, one.unit): one for one in found}


def write_exemplars(layout: Layout, exemplars: Iterable[Exemplar]) -> None:
    """`exemplars.csv`: which images stand in a unit's strip, and its value on each."""
    write_table(layout.exemplars, EXEMPLARS, ((e.layer, e.unit, e.rank, e.image, _number(e.value)) for e in exemplars))


def read_exemplars(layout: Layout) -> list[Exemplar]:
    """The rows of `exemplars.csv`."""
    return _read(
        layout.exemplars,
        lambda row: Exemplar(*_place(row), int(row["rank"]), row["image"], float(row["value"])),
    )


def check_rows(manifest: Mapping[str, Any], path: Path, rows: int) -> None:
    """Refuse a table that was cut where a row ends: the manifest says how many it has (older ones do not).

    Raises:
        ValueError: it has another number of `rows`.
    """
    counted = manifest.get("rows")
    expected = counted.get(path.stem) if isinstance(counted, dict) else None
    if expected is not None and expected != rows:
        raise ValueError(f"Expected {expected} rows in {str(path)!r} but got {rows}; describe again")


def _ranked(candidates: Sequence[Candidate]) -> Iterator[tuple[int, Candidate]]:
    ranks: Counter[str] = Counter()
    for candidate in candidates:
        ranks[candidate.method] += 1
        yield ranks[candidate.method], candidate


def _place(row: Row) -> tuple[str, int]:
    return row["layer"], int(row["unit"])


def _candidate(row: Row) -> Candidate:
    return Candidate(row["description"], float(row["similarity"]), row["method"])


def _description(row: Row, candidates: Sequence[Candidate]) -> Description:
    layer, unit = _place(row)
    return Description(
        layer=layer,
        unit=unit,
        description=row["description"],
        similarity=float(row["similarity"]),
        win_rate=_optional(row["win_rate"]),
        mean_when_winning=_optional(row["mean_when_winning"]),
        support=int(row["support"]),
        candidates=tuple(candidates),
        margin=_optional(row.get("margin")),
        evidence=_evidence(row),
    )


def _evidence(row: Row) -> Evidence | None:
    if not row.get("p"):  # too few images to judge by
        return None
    predictability, low, high, precision, p, q = (float(row[name]) for name in EVIDENCE)
    return Evidence(predictability, low, high, precision, p, q, row["rival"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _optional(cell: str | None) -> float | None:
    return float(cell) if cell else None


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, whole or not at all; words that a spreadsheet would compute have an apostrophe before them."""
    with write_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for row in rows:
            table.writerow(inert(cell) if name in TEXTS else cell for name, cell in zip(header, row, strict=True))


def _read(path: Path, row_of: Callable[[Row], T]) -> list[T]:
    """The rows of a table.

    Raises:
        ValueError: it is cut short, or a row is none of ours.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        if not text.endswith("\n") or any(None in row.values() for row in rows):
            raise ValueError("it is cut short")
        return [row_of({name: plain(cell) if name in TEXTS else cell for name, cell in row.items()}) for row in rows]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"Expected a whole table but got {str(path)!r} ({error}); describe again") from error
