"""Which pictures belong together by their names: frames of one clip, crops of one photo, visits of one patient."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

BY_NAME = ("folder", "prefix")


def blocks_by(names: Sequence[str], by: str | Path) -> tuple[str, ...]:
    """The block of each picture: `folder` is the folder it lies in, `prefix` its name without the last digits
    (`a/clip7_0012.png` belongs to `a/clip7`), anything else a CSV file with the columns `image` and `block`.

    Raises:
        FileNotFoundError: no such file. ValueError: other columns, or pictures that the table does not hold.

    >>> blocks_by(["a/clip7_0012.png", "a/clip7_0013.png", "b/x.png"], "prefix")
    ('a/clip7', 'a/clip7', 'b/x')
    """
    if str(by) == "folder":
        return tuple(str(PurePosixPath(name).parent) for name in names)
    if str(by) == "prefix":
        return tuple(re.sub(r"[\s_.-]*\d*$", "", str(PurePosixPath(name).with_suffix(""))) for name in names)
    if not Path(by).is_file():
        raise FileNotFoundError(f"Expected blocks by {', '.join(BY_NAME)} or a CSV file but got {str(by)!r}")
    with Path(by).open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"image", "block"} <= set(table.fieldnames or ()):
            raise ValueError(f"Expected the columns image, block in {str(by)!r} but got {table.fieldnames}")
        held = {row["image"]: row["block"] for row in table}
    missing = [name for name in names if name not in held]
    if missing:
        raise ValueError(f"Expected a block in {str(by)!r} for every picture but got none for {missing[:3]}")
    return tuple(held[name] for name in names)
