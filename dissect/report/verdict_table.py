"""The judge's tables as files: every number with its interval and its number of units."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any

from competition_layers.cells import inert
from competition_layers.files import write_file

from ..judging.judge import LayerVerdicts
from ..judging.measures import MEASURES
from ..judging.sanity import sanity
from ..judging.verdicts import Verdict
from .verdict_text import measures_of

SUFFIXES = (".json", ".csv")


def write_verdicts(path: Path, tables: Sequence[tuple[str, LayerVerdicts]]) -> None:
    """`tables` (with the dissections that each is of) to a `.csv`, a row a verdict, or to a `.json` with the leads, the
    units that were skipped, and the sanity tests too.

    Raises:
        ValueError: another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"Expected a file that ends in {' or '.join(SUFFIXES)} but got {str(path)!r}")
    with write_file(path) as temporary:
        if path.suffix == ".json":
            temporary.write_text(json.dumps(_json(tables), indent=1) + "\n", encoding="utf-8")
            return
        columns = [each.name for each in fields(Verdict)]
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("dissections", *columns))
            for dissections, judged in tables:
                for verdict in judged.verdicts:
                    cells = (_cell(getattr(verdict, column)) for column in columns)
                    table.writerow((inert(dissections), *cells))


def _cell(value: str | float) -> str | float:
    if isinstance(value, str):
        return inert(value)
    return value if isfinite(value) else ""


def _json(tables: Sequence[tuple[str, LayerVerdicts]]) -> dict[str, Any]:
    found = {name: sanity(MEASURES[name]) for name in measures_of(*(table for _, table in tables))}
    return {
        "sanity": {name: asdict(each) | {"passes": each.passes} for name, each in found.items()},
        "layers": [
            {
                "dissections": dissections,
                "layer": table.methods.layer,
                "units": list(table.methods.units),
                "of": table.methods.of,
                "not_described": dict(table.methods.missing),
                "images": table.images,
                "verdicts": [_finite(asdict(each)) for each in table.verdicts],
                "leads": [_finite(asdict(each)) for each in table.leads],
            }
            for dissections, table in tables
        ],
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in row.items()}
