"""Descriptions that other tools publish as texts: MAIA's `history.json`, delphi's `explanations/LATENT.txt`."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_PART = re.compile(r"\[(?:DESCRIPTION|LABEL ?[0-9]+)\]:?\s*(.*?)\s*(?=\[(?:DESCRIPTION|LABEL)|\Z)", re.DOTALL)
LARGEST = 2**26  # bytes of a history: it may hold pictures
Said = tuple[str, int, str, float | None]  # layer ("": not said), unit from 0, description, score


def read_texts(folder: Path) -> list[Said]:
    """What a folder of either tool says: MAIA's histories if there are any, else delphi's explanations."""
    histories = sorted(path for deep in ("*", "*/*") for path in folder.glob(f"{deep}/history.json"))
    return [said for path in histories for said in read_maia(path)] if histories else list(read_delphi(folder))


def read_maia(path: Path) -> Iterator[Said]:
    """The description, then the labels, of `.../LAYER/UNIT/history.json`: what was said last.

    The score, if `eval_results.json` stands beside it: by how much pictures that should activate the unit do so more
    than those that should not.

    Raises:
        ValueError: no JSON, no description in it, or a folder that is no unit's.
    """
    found = re.fullmatch(r"(?:unit_?)?([0-9]{1,9})", path.parent.name)
    if not found:
        raise ValueError(f"Expected MAIA's LAYER/UNIT/history.json but got {str(path)!r}")
    said = [text for text in _texts(_json(path)) if "[DESCRIPTION]" in text]
    texts = [" ".join(text.split()) for text in (_PART.findall(said[-1]) if said else []) if text.strip()]
    if not texts:
        raise ValueError(f"Expected [DESCRIPTION]: in {str(path)!r} but got none")
    score = _contrast(path.with_name("eval_results.json"))
    for text in texts:
        yield path.parent.parent.name, int(found[1]), text, score


def read_delphi(folder: Path) -> Iterator[Said]:
    """Layer ("" where the name has none), latent and explanation of each file of `explanations/`.

    The score, if `scores/detection/` (or another scorer's folder, the first by name) stands beside it: its balanced
    accuracy.

    Raises:
        ValueError: a name without a number, or no JSON text.
    """
    scorers = sorted((folder.parent / "scores").glob("*/"), key=lambda place: (place.name != "detection", place.name))
    for path in sorted(folder.glob("*.txt")):
        found = re.fullmatch(r"(?:(.+?)_)?(?:latent|feature|neuron)?_?([0-9]{1,9})", path.stem)
        text = _json(path)
        if not found or not isinstance(text, str):
            raise ValueError(f"Expected delphi's LATENT.txt with a JSON text but got {str(path)!r}")
        score = _balanced_accuracy(scorers[0] / path.name) if scorers else None
        yield found[1] or "", int(found[2]), " ".join(text.split()), score


def _contrast(path: Path) -> float | None:
    found = _json(path) if path.is_file() else None
    if not isinstance(found, Mapping):
        return None
    raised, other = (found.get(f"average_{which}_score") for which in ("positive", "negative"))
    return float(raised - other) if isinstance(raised, int | float) and isinstance(other, int | float) else None


def _balanced_accuracy(path: Path) -> float | None:
    """The mean of the shares of activating and of other examples that are told rightly."""
    found = _json(path) if path.is_file() else None
    rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    parts = [
        [bool(row.get("correct")) for row in rows if bool(row.get("activating")) is kind] for kind in (True, False)
    ]
    return sum(sum(part) / len(part) for part in parts) / 2 if all(parts) else None


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
