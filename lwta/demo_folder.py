"""The folder of a demo: whether it is finished, who works there, and what may be removed from it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from competition_layers.files import write_file

FORMAT = 3
MARK = "demo.json"  # says that a folder is a demo's, and of which settings
LOCK = "demo.lock"
FIGURES = "report.json"  # beside the page
PAGE = "report.html"
LIVE = "live.html"  # the page in which the network runs
UNITS, NETWORKS = "units.html", "networks.html"
PAGES = {"Pictures": PAGE, "Units": UNITS, "Networks": NETWORKS, "Your own photo": LIVE}  # link to one another
MADE = (
    *("scenes", "dense", "sparse", "names-dense", "names-sparse", "table.txt", FIGURES),
    *PAGES.values(),
    *("units.json", "networks.json"),
)


def is_finished(out: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `out` holds this very demo, made to the end."""
    return _settings_in(out) == {"format": FORMAT, **settings} and (out / PAGE).is_file()


def refuse_others(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is not to be made anew.

    Raises:
        FileExistsError: something else stands in `out`, or another demo and `overwrite` is not set.
    """
    if not out.exists() or not any(path.name != LOCK for path in out.iterdir()):
        return
    if _settings_in(out) is None:
        raise FileExistsError(f"Expected a new or empty folder, or a demo's, but got {str(out)!r}: choose --out")
    if (out / PAGE).is_file() and not overwrite:
        raise FileExistsError(
            f"Expected a new folder but {str(out)!r} holds a demo of other settings: choose --out, or --overwrite"
        )


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Inside the block no other demo works on `out`; the lock ends with the process, however that ends.

    Raises:
        FileExistsError: another demo is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise FileExistsError(
            f"Expected to be alone on {str(out)!r} but another demo is at work there; wait for it, or choose --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def make_room(out: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Remove what an unfinished demo left, or under `overwrite` any; leave a mark of this one.

    Raises:
        FileExistsError: see `refuse_others`.
    """
    refuse_others(out, overwrite=overwrite)
    for name in MADE:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    with write_file(out / MARK) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **settings}) + "\n")


def _settings_in(out: Path) -> dict[str, Any] | None:
    """What the mark in `out` says; None without one."""
    try:
        return json.loads((out / MARK).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
