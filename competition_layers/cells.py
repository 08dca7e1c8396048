"""Text in the cells of a CSV table that no spreadsheet takes for a formula."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def inert(text: object) -> str:
    """`text` with an apostrophe before it where a spreadsheet would compute it: it begins with = + - @, tab or return.

    >>> inert("=1+1"), inert("sea"), plain(inert("'=1"))
    ("'=1+1", 'sea', "'=1")
    """
    text = str(text)
    return f"'{text}" if _FORMULA.match(text) else text


def plain(cell: str) -> str:
    """What `inert` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
