"""The findings as JSON, beside the page: every number that a page shows is a field here."""

import json
from collections.abc import Sequence
from pathlib import Path

from competition_layers.files import write_file

from ..comparing.figures import Comparison
from ..explaining.explanation import Explanation

FORMAT = 1


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
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path
