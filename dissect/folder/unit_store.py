"""What a describer said of single units, a small file each, until the layer is done: a killed run goes on behind it."""

import json
from collections.abc import Callable

from competition_layers.files import write_file

from ..describers.describer import Described, Describer
from ..fingerprints import digest
from ..naming.description import Candidate
from .layout import Layout

FORMAT = 1


def stored_candidates(
    layout: Layout, layer: str, made_from: str, describer: Describer, unit: int, make: Callable[[], Described]
) -> Described:
    """The candidates under what they are made from; what `make` gives where there are none."""
    path = layout.unit_said(layer, describer.method, unit)
    key = digest(made_from, describer.method, json.dumps(describer.options, sort_keys=True))
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] == FORMAT and kept["key"] == key:
            return tuple(Candidate(str(text), float(score), describer.method) for text, score in kept["candidates"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or damaged: made again
    made = make()
    rows = [[one.description, one.similarity] for one in made]
    with write_file(path) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, "key": key, "candidates": rows}) + "\n", encoding="utf-8")
    return made
