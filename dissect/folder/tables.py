"""The tables of a dissection folder: descriptions, candidates, exemplars."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from competition_layers.files import write_file

from ..naming.description import Candidate, Description
from ..naming.evidence import Evidence
from .exemplars import Exemplar

# the first four are what readers of CLIP-Dissect's and CoSy's files expect
EVIDENCE = ("predictability", "low", "high", "precision", "p", "q")
DESCRIPTIONS = (
    *("layer", "unit", "description", "similarity", "win_rate", "mean_when_winning", "support", "margin"),
    *(*EVIDENCE, "rival"),
)
CANDIDATES = ("layer", "unit", "rank", "description", "similarity", "method")
EXEMPLARS = ("layer", "unit", "rank", "image", "value")


def write_descriptions(folder: Path, descriptions: Sequence[Description]) -> None:
    """`descriptions.csv`, exactly one row a unit, and `candidates.csv` with the further names; ranks count from 1."""
    _write(
        folder / "descriptions.csv",
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
    _write(
        folder / "candidates.csv",
        CANDIDATES,
        (
            (d.layer, d.unit, rank, c.description, _number(c.similarity), c.method)
            for d in descriptions
            for rank, c in enumerate(d.candidates, start=1)
        ),
    )


def read_descriptions(folder: Path) -> dict[tuple[str, int], Description]:
    """Every unit's description with its candidates."""
    candidates: dict[tuple[str, int], list[Candidate]] = {}
    for row in _rows(folder / "candidates.csv"):
        candidate = Candidate(row["description"], float(row["similarity"]), row["method"])
        candidates.setdefault((row["layer"], int(row["unit"])), []).append(candidate)
    return {
        (row["layer"], int(row["unit"])): Description(
            layer=row["layer"],
            unit=int(row["unit"]),
            description=row["description"],
            similarity=float(row["similarity"]),
            win_rate=float(row["win_rate"]) if row["win_rate"] else None,
            mean_when_winning=float(row["mean_when_winning"]) if row["mean_when_winning"] else None,
            support=int(row["support"]),
            candidates=tuple(candidates.get((row["layer"], int(row["unit"])), ())),
            margin=float(row["margin"]) if row.get("margin") else None,
            evidence=_evidence(row),
        )
        for row in _rows(folder / "descriptions.csv")
    }


def write_exemplars(folder: Path, exemplars: Iterable[Exemplar]) -> None:
    """`exemplars.csv`: which images stand in a unit's strip, and its value on each."""
    _write(
        folder / "exemplars.csv", EXEMPLARS, ((e.layer, e.unit, e.rank, e.image, _number(e.value)) for e in exemplars)
    )


def read_exemplars(folder: Path) -> Iterator[Exemplar]:
    """The rows of `exemplars.csv`."""
    for row in _rows(folder / "exemplars.csv"):
        yield Exemplar(row["layer"], int(row["unit"]), int(row["rank"]), row["image"], float(row["value"]))


def _evidence(row: Mapping[str, str]) -> Evidence | None:
    if not row.get("p"):  # too few images to judge by
        return None
    return Evidence(*(float(row[name]) for name in EVIDENCE), rival=row["rival"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    with write_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
