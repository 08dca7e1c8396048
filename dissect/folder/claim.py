"""A dissection folder belongs to one network, and one command at a time writes there, or several a share each."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from competition_layers.files import alone

from .layout import Layout, read_json
from .tensors import is_stamped

_PATIENCE = 2.0  # seconds: shares hold the whole folder's lock for a moment each, while they start
_LEFT_OVER = re.compile(r"\.[^/]+\.(json|csv|safetensors|jpg|png)\.\d+\.tmp")  # what `write_file` makes of our names


@contextmanager
def claimed(
    folder: str | Path, model: str, *, share: tuple[int, int] | None = None, overwrite: bool = False
) -> Iterator[Layout]:
    """Inside the block no other command writes to `folder`; those that record other shares (i of n) may.

    A command that fails before it wrote anything leaves no folder behind that was not there.

    Args:
        model: the fingerprint of the network that the folder is, or is to be, of.
        overwrite: take over the dissection of another network.

    Raises:
        FileExistsError: it is no dissection, or of another network, or another command is at work there.
        PermissionError: nothing can be written there.
    """
    layout = Layout(Path(folder))
    check_owner(layout, model, overwrite=overwrite)
    made = [place for place in (layout.folder, *layout.folder.parents) if not place.exists()]
    try:
        layout.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(layout.folder, os.W_OK | os.X_OK):
            raise PermissionError("it may not be written")
    except OSError as error:
        raise PermissionError(
            f"Expected a folder that can be written but got {str(folder)!r} ({error}); give another --out"
        ) from error
    try:
        with locked(layout, share=share):
            check_owner(layout, model, overwrite=overwrite)  # another may have begun meanwhile
            if share is None:
                _remove_leftovers(layout)
            yield layout
    except BaseException:
        _remove_empty(layout, made)
        raise


def check_owner(layout: Layout, model: str, *, overwrite: bool = False) -> None:
    """Refuse a folder that holds something else than a dissection, or (but for `overwrite`) another network's.

    Raises:
        FileExistsError: so it is. NotADirectoryError: a file.
    """
    if layout.folder.exists() and not layout.folder.is_dir():
        raise NotADirectoryError(f"Expected a folder but {str(layout.folder)!r} is a file; give another --out")
    mark = next((path for path in (layout.manifest, layout.unfinished) if path.is_file()), None)
    if mark is None:
        visible = layout.folder.is_dir() and any(not path.name.startswith(".") for path in layout.folder.iterdir())
        if visible and not is_stamped(layout.concept_embeddings):  # older ones that were killed have no mark but that
            raise FileExistsError(
                f"Expected a new or empty folder, or a dissection's, but {str(layout.folder)!r} holds other files; "
                "give another --out"
            )
        return
    try:
        owner = read_json(mark).get("model", {})
    except ValueError:  # damaged: everything is checked by its own key
        return
    if owner.get("fingerprint") != model and not overwrite:
        name = f" ({owner['architecture']})" if "architecture" in owner else ""
        raise FileExistsError(
            f"Expected a new folder, or the dissection of this network, but {str(layout.folder)!r} holds that of "
            f"another{name}, or of this one with other weights or settings; --overwrite replaces it"
        )


@contextmanager
def locked(layout: Layout, *, share: tuple[int, int] | None = None) -> Iterator[None]:
    """The operating system's lock on a folder, or on one share of its images: it ends with the process.

    A share holds its own lock, and the folder's while it starts; a command on the whole folder holds all of them.

    Raises:
        FileExistsError: another command is at work there; its process and machine are named.
    """
    with ExitStack() as held:
        whole = held.enter_context(_taken(layout.lock(), layout, patience=_PATIENCE if share else 0))
        if share is None:
            for path in layout.share_locks():
                held.enter_context(_taken(path, layout))
            yield
        else:
            held.enter_context(_taken(layout.lock(share), layout))
            whole.release()
            yield


def _taken(path: Path, layout: Layout, *, patience: float = 0) -> AbstractContextManager[FileLock]:
    def refusal(who: str) -> str:
        return (
            f"Expected to be alone on the folder {str(layout.folder)!r} but {who} is at work there; wait for it, or "
            "give another --out"
        )

    return alone(path, refusal, patience=patience)


def _remove_leftovers(layout: Layout) -> None:
    """Remove what killed commands left half written: temporary names of our files in the folders we write to."""
    places = [layout.folder, *(place for name in layout.PARTS for place in _folders(layout.folder / name))]
    for place in places:
        for path in place.glob(".*.tmp") if place.is_dir() else ():
            if path.is_file() and _LEFT_OVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _remove_empty(layout: Layout, made: Sequence[Path]) -> None:
    """Remove the folders that were `made`, innermost first, if nothing but locks that nobody holds is in them."""
    if not made:
        return
    with suppress(OSError):
        with locked(layout):
            found = list(layout.folder.iterdir())
            if all(path.name.startswith(".lock") for path in found):
                for path in found:
                    path.unlink()
        for place in made:
            place.rmdir()


def _folders(place: Path) -> list[Path]:
    """A folder and those in it."""
    return [place, *(path for path in place.glob("*") if path.is_dir())]
