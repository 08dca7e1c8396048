"""The findings as JSON, beside the page: every number that a page shows is a field here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from competition_layers.files import write_file

from ..comparing.figures import Comparison
from ..explaining.at_random import AtRandom
from ..explaining.class_summary import ClassReport
from ..explaining.explanation import Explanation
from ..explaining.record import without_bytes
from ..explaining.unit_entries import UnitEntry

FORMAT = 1


def units_record(entries: Sequence[UnitEntry], at_random: Mapping[str, AtRandom]) -> dict[str, Any]:
    """The fields of every `UnitEntry` without its pictures, and of each layer's `AtRandom`."""
    rows = [asdict(replace(entry, exemplars=b"", masks=())) | {"anchor": entry.anchor} for entry in entries]
    for row in rows:
        del row["exemplars"], row["masks"]
    random = {layer: asdict(found) | {"high": found.high} for layer, found in at_random.items()}
    return {"format": FORMAT, "units": rows, "at_random": random}


def classes_record(report: ClassReport) -> dict[str, Any]:
    """The fields of a `ClassReport` without its pictures."""
    return {"format": FORMAT, "class_report": without_bytes(asdict(report))}


def write_record(
    path: Path, explanations: Sequence[Explanation], twins: Sequence[Explanation], comparison: Comparison | None
) -> Path:
    """Write all of it to `path`, whole or not at all."""
    record = {
        "format": FORMAT,
        "explanations": [explanation.to_dict() for explanation in explanations],
        "twins": [twin.to_dict() for twin in twins],
        "comparison": None if comparison is None else comparison.to_dict(),
    }
    return write_json(path, record)


def write_json(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a record to `path`, whole or not at all."""
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path
