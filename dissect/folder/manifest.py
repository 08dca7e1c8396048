"""What a manifest says, key by key and of which kind: a folder may come from anybody."""

from collections.abc import Iterator, Mapping
from typing import Any

# of every key that readers take: a type, [kind] a list of it, {...: kind} any names with it, `?` need not be there
MANIFEST: dict[Any, Any] = {
    "key": str,
    "encoder": str,
    "model": {"fingerprint": str, "rules": {...: str}, "architecture?": str, "label_names?": [str]},
    "probe": {"fingerprint": str, "images": int, "names": [str]},
    "concepts": {"fingerprint": str, "count": int, "source": str, "names": [str], "templates?": [str]},
    "options": {"similarity": str},
    "layers": {...: {"units": int, "summary": str, "competes?": bool, "competitors?": int, "layout?": str}},
    "blocks?": [str],
    "phrases?": [str],
    "warnings?": [str],
    "rows?": {...: int},
    "named_at_random?": {...: int},
}


def misfits(said: Any, kind: Any = MANIFEST, at: str = "") -> Iterator[tuple[str, str, Any]]:
    """What does not fit: the path of its key, what is expected there, and what stands there.

    >>> list(misfits({"a": [1, "b"], "c": None}, {"a": [int], "b": str, "c?": int}))
    [('a.1', 'int', 'b'), ('b', 'str', None)]
    """
    if isinstance(kind, dict):
        if not isinstance(said, Mapping):
            yield at, "dict", said
            return
        names = {key.rstrip("?"): (each, key.endswith("?")) for key, each in kind.items() if key is not ...}
        names |= dict.fromkeys(said.keys() - names.keys(), (kind[...], False)) if ... in kind else {}
        for name, (each, optional) in names.items():
            if not (optional and said.get(name) is None):
                yield from misfits(said.get(name), each, f"{at}.{name}".lstrip("."))
    elif isinstance(kind, list):
        if not isinstance(said, list):
            yield at, "list", said
            return
        for i, one in enumerate(said):
            yield from misfits(one, kind[0], f"{at}.{i}")
    elif type(said) is not kind or (kind is int and not 0 <= said < 2**40):  # a number is a count
        yield at, kind.__name__, said
