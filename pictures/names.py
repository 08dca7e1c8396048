"""Names of files as people and files of ours can hold them: one form, printable everywhere, in natural order."""

import re
import unicodedata

from competition_layers.terminal import plain

_FOREIGN = ("@eaDir", "__MACOSX")  # thumbnails and metadata that other systems leave beside pictures


def readable_name(name: str) -> str:
    """`name` in Unicode's composed form; bytes that are no UTF-8, control characters and marks of direction escaped.

    >>> readable_name("caf\\udce9.png"), readable_name("cafe\\u0301") == "caf\\u00e9"
    ('caf\\\\xe9.png', True)
    """
    # lone surrogates are bytes that Python did not decode: no UTF-8 or, under LC_ALL=C, whatever is not ASCII
    name = re.sub("[\udc80-\udcff]+", _decoded, name)
    return plain(unicodedata.normalize("NFC", name))


def _decoded(surrogates: re.Match[str]) -> str:
    return surrogates[0].encode("ascii", "surrogateescape").decode("utf-8", "backslashreplace")


def natural_key(name: str) -> list[int | str]:
    """Sorts "9" before "10", whatever the case; timm's order of classes.

    >>> sorted(["b10", "B9", "a"], key=natural_key)
    ['a', 'B9', 'b10']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name holds nothing of the user's: `.ipynb_checkpoints`, `._1.jpg`, `@eaDir`."""
    return part.startswith(".") or part in _FOREIGN
