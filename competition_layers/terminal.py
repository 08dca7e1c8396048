"""What reaches a terminal: text from files and folders made harmless, and rows in columns."""

import unicodedata
from collections.abc import Sequence

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (direction marks), lone surrogates, line separators
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are written with them


def plain(text: object) -> str:
    r"""`text` without what a terminal would obey or hide: such characters are written as escapes.

    For everything whose words others chose: names of files, folders, classes, concepts, layers. A name cannot move the
    cursor, change colours, end the line, or turn the direction of what follows.

    >>> plain("a\x1b[31mb\n\u202egnp.jpg"), plain("h\u00fcndchen \u732b")
    ('a\\x1b[31mb\\n\\u202egnp.jpg', 'hündchen 猫')
    """
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _HIDDEN and character not in _JOINERS else character
        for character in str(text)
    )


def aligned(rows: Sequence[Sequence[str]], *, left: Sequence[int] = ()) -> list[str]:
    """A line for each row, cells in columns two blanks apart: to the right, those of the columns `left` to the left.

    >>> aligned([("unit", "name"), ("3", "red"), ("12", "a b")], left=[1])
    ['  unit  name', '     3  red', '    12  a b']
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in cells
    ]
