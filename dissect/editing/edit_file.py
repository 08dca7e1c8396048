"""Edits on disk: a small JSON file that says which model it belongs to, what is done, and what that changed.

{"format": 1, "model": HASH,
 "edits": [{"layer": "decision", "unit": 12, "do": "off", "why": "..."},
           {"layer": "decision", "name": "watermark", "do": "scale", "factor": 0.5}],
 "refit": {"head": ..., "pictures": ...}, "measured": {"before": {...}, "after": {...}, ...}}

An edit is of a `unit`, or of all units that the dissection at hand calls `name`. The file may come from anybody.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from competition_layers.files import write_file
from competition_layers.names import nearest

from ..folder.dissection import Dissection
from .edits import Edit, units_named

FORMAT = 1
_KEYS = {"format", "model", "edits", "refit", "measured", "done"}


def read_edits(path: str | Path, *, model: str, dissection: Dissection | None = None) -> tuple[Edit, ...]:
    """The edits in a file, those by name as one for each unit.

    Args:
        model: the hash of the network that they are to be applied to (`model_fingerprint`).
        dissection: says which units have a name.

    Raises:
        FileNotFoundError: no such file. ValueError: of another model, damaged, or with edits that are none.
    """
    where = repr(str(path))
    try:
        said = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected JSON in {where} but it cannot be read: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("edits"), list):
        raise ValueError(f"Expected an object with a list of edits in {where} but got none")
    _known(said, _KEYS, where)
    if said.get("format") != FORMAT:
        raise ValueError(f"Expected edits of format {FORMAT} in {where} but got {said.get('format')!r}")
    if said.get("model") != model:
        raise ValueError(
            f"Expected edits of the network at hand ({model}) in {where} but they belong to {said.get('model')!r}: a "
            "unit's number means another one there. Find the units again by name, and write them down for this one"
        )
    return tuple(edit for entry in said["edits"] for edit in _edits(entry, where, dissection))


def write_edits(path: str | Path, edits: Sequence[Edit], *, model: str, **notes: Any) -> Path:
    """Write edits of the network with the hash `model`; `notes` are further keys (`refit`, `measured`)."""
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(content_of(edits, model=model, **notes), indent=1) + "\n", encoding="utf-8")
    return Path(path)


def content_of(edits: Sequence[Edit], *, model: str, **notes: Any) -> dict[str, Any]:
    """What stands in the file."""
    notes = {key: value for key, value in notes.items() if value is not None}
    return {"format": FORMAT, "model": model, "edits": [edit.to_dict() for edit in edits], **notes}


def _edits(entry: Any, where: str, dissection: Dissection | None) -> list[Edit]:
    if not isinstance(entry, Mapping):
        raise ValueError(f"Expected each edit in {where} to be an object but got {entry!r}")
    _known(entry, {field.name for field in fields(Edit)}, where)
    said = dict(entry)
    texts = {key: said[key] for key in ("layer", "do", "to", "name", "why") if key in said}
    wrong = [key for key, value in texts.items() if not isinstance(value, str)]
    if wrong:
        raise ValueError(f"Expected words for {wrong[0]} in {where} but got {texts[wrong[0]]!r}")
    if "unit" in said:
        if "layer" not in said:
            raise ValueError(f"Expected the layer of unit {said['unit']!r} in {where} but got none")
        return [Edit(**said)]
    if "name" not in said:
        raise ValueError(f"Expected a unit or a name in each edit in {where} but got {entry!r}")
    if dissection is None:
        raise ValueError(
            f"Expected a dissection that says which unit is called {said['name']!r} ({where}) but got none"
        )
    layers = said.pop("layer", "*")
    return [Edit(layer, unit, **said) for layer, unit in units_named(dissection, said["name"], layers=layers)]


def _known(said: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in said:
        if key not in known:
            raise ValueError(f"Expected known keys in {where} but got {key!r}{nearest(str(key), known)}")
