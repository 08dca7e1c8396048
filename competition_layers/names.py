"""Names that people type: globs against the known ones, and the nearest known one when nothing fits."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known name that looks most like `name`, or nothing.

    >>> nearest("soft_wmpi", ["wpmi", "soft_wpmi"])
    ", did you mean 'soft_wpmi'?"
    """
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def match_names(patterns: str | Sequence[str], known: Sequence[str], *, what: str) -> list[str]:
    """The known names that any of the glob `patterns` matches, in the order of `known`.

    >>> match_names("blocks.*.mlp.act", ["blocks.0.mlp.act", "blocks.0.attn", "head"], what="layer")
    ['blocks.0.mlp.act']

    Raises:
        ValueError: a pattern matches nothing; the nearest known name is offered.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise ValueError(f"Expected a known {what} but got {pattern!r}{nearest(pattern, known)} (known: {shown})")
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]
