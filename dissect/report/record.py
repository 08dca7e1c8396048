"""The findings as JSON, beside the page: every number that a page shows is a field here."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from competition_layers.files import write_file

from ..comparing.figures import Comparison
from ..explaining.explanation import Explanation
from .disagreements import disagreements
from .sentence import further_words, other_layer, sentence_of
from .sums import needed

FORMAT = 1


def explanation_record(explanation: Explanation) -> dict[str, Any]:
    """The fields of an `Explanation` without its pictures, and what is derived from them."""
    record = without_bytes(asdict(explanation))
    for effect, found in zip(record["units"], explanation.units, strict=True):
        effect["label"] = found.label
    return record | {
        "predicted": explanation.label,
        "share": explanation.share,
        "explains": explanation.explains,
        "effective_density": explanation.effective_density,
        "sentence": sentence_of(explanation),
        "words": list(further_words(explanation)),
        "other_layer": other_layer(explanation),
        "needed": needed(explanation),
        "disagreements": list(disagreements(explanation)),
    }


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """The fields of a `Comparison`, and what is derived from them."""
    record = asdict(comparison)
    for network, found in zip(record["networks"], comparison.networks, strict=True):
        for names, counted in zip(network["names"], found.names, strict=True):
            names |= {"units": counted.units, "share": counted.share}
    return record | {"remarks": list(comparison.remarks)}


def write_record(
    path: Path, explanations: Sequence[Explanation], twins: Sequence[Explanation], comparison: Comparison | None
) -> Path:
    """Write all of it to `path`, whole or not at all."""
    record = {
        "format": FORMAT,
        "explanations": [explanation_record(explanation) for explanation in explanations],
        "twins": [explanation_record(twin) for twin in twins],
        "comparison": None if comparison is None else comparison_record(comparison),
    }
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_bytes(part) for key, part in value.items() if not isinstance(part, bytes)}
    if isinstance(value, list | tuple):
        return [without_bytes(part) for part in value]
    return value
