"""Descriptions that other tools publish as texts: MAIA's `history.json`, delphi's `explanations/LATENT.txt`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PART = re.compile(r"\[(?:DESCRIPTION|LABEL ?\d+)\]:?\s*(.*?)\s*(?=\[(?:DESCRIPTION|LABEL)|\Z)", re.DOTALL)
LARGEST = 2**26  # bytes of a history: it may hold pictures


def read_maia(path: Path) -> tuple[str, int, list[str]]:
    """Layer, unit and texts (the description, then the labels) of `.../LAYER/UNIT/history.json`: what was said last.

    Raises:
        ValueError: no JSON, no description in it, or a folder that is no unit's.
    """
    if not re.fullmatch(r"(?:unit_?)?\d{1,9}", path.parent.name):
        raise ValueError(f"Expected MAIA's LAYER/UNIT/history.json but got {str(path)!r}")
    unit = int(re.sub(r"\D", "", path.parent.name))
    said = [text for text in _texts(_json(path)) if "[DESCRIPTION]" in text]
    found = _PART.findall(said[-1]) if said else []
    texts = [" ".join(text.split()) for text in found if text.strip()]
    if not texts:
        raise ValueError(f"Expected [DESCRIPTION]: in {str(path)!r} but got none")
    return path.parent.parent.name, unit, texts


def read_delphi(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Layer ("" where the name has none), latent and explanation of each file of `explanations/`.

    Raises:
        ValueError: a name without a number, or no JSON text.
    """
    for path in sorted(folder.glob("*.txt")):
        found = re.fullmatch(r"(?:(.+?)_)?(?:latent|feature|neuron)?_?(\d{1,9})", path.stem)
        text = _json(path)
        if not found or not isinstance(text, str):
            raise ValueError(f"Expected delphi's LATENT.txt with a JSON text but got {str(path)!r}")
        yield found[1] or "", int(found[2]), " ".join(text.split())


def _json(path: Path) -> Any:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"Expected at most {LARGEST} bytes in {str(path)!r} but got {path.stat().st_size}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected JSON in {str(path)!r} but got: {error}") from error


def _texts(found: Any) -> Iterator[str]:
    """All texts in a JSON value, in their order."""
    left = [found]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, (list, dict)):
            left += reversed(list(one.values() if isinstance(one, dict) else one))
