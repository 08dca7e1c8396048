"""A folder of pictures, however deep; a picture's class is the path of the folder that it lies in."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from competition_layers.names import nearest

from ..decoding import EXTENSIONS
from ..names import is_hidden, natural_key, readable_name
from .listing import Listing, Place, numbered

NO_PICTURES = ".nomedia"  # a folder that holds this file is passed over, as galleries do
SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "probe", "clip")
_SHOWN = 10  # of a list of folders


def open_folder(place: Place) -> Listing:
    """The pictures in a folder, in the order of their names. Links are followed; what is hidden is passed over."""
    folder = _split_folder(Path(place.source), place.split)
    walked = sorted((readable_name(path.relative_to(folder).as_posix()), path, why) for path, why in _walk(folder))
    files = [(name, path) for name, path, why in walked if not why]
    bad = tuple((name, why) for name, _, why in walked if why)
    if not files:
        listed = "".join(f"; {name}: {why}" for name, why in bad[:_SHOWN])
        raise ValueError(
            f"Expected images ({', '.join(sorted(EXTENSIONS))}) in the folder {str(folder)!r} but got none{listed}"
        )
    names, paths = [name for name, _ in files], tuple(path for _, path in files)
    labels = [name.rpartition("/")[0] or None for name in names]
    classes = sorted({label for label in labels if label}, key=natural_key)
    return Listing(
        names=tuple(names),
        load=partial(_read, paths),
        files=paths,
        bad=bad,
        **numbered(labels, classes),
        unlabelled=_why_unlabelled(folder, classes),
    )


def one_file(place: Place) -> Listing:
    """A picture by its path."""
    files = (Path(place.source),)
    why = "Expected a folder for each class but got one picture"
    return Listing((readable_name(files[0].name),), partial(_read, files), unlabelled=why, files=files)


def join_files(listings: Mapping[str, Listing]) -> Listing:
    """The files of several folders and of single pictures, by the paths that they were asked for by."""
    files = tuple(file for listing in listings.values() for file in listing.files)
    bad = [(f"{path}/{name}", why) for path, listing in listings.items() for name, why in listing.bad]
    names = tuple(readable_name(file.as_posix()) for file in files)
    return Listing(names, partial(_read, files), unlabelled="Expected one folder", bad=tuple(bad), files=files)


def _read(files: Sequence[Path], index: int) -> bytes:
    return files[index].read_bytes()


def _walk(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[Path, str]]:
    """Each picture's file, and each file and folder that cannot be read with the reason."""
    try:
        status = folder.stat()
        entries = list(os.scandir(folder))
    except OSError as error:
        yield folder, error.strerror or str(error)
        return
    here = (status.st_dev, status.st_ino)
    if here in above or (above and any(entry.name == NO_PICTURES for entry in entries)):
        return  # a link back to a folder that this one is in has no end
    for entry in entries:
        path = folder / entry.name
        if is_hidden(entry.name):
            continue
        if entry.is_dir():
            yield from _walk(path, (*above, here))
        elif path.suffix.lower() in EXTENSIONS:
            yield path, "" if entry.is_file() else "a link to nothing" if entry.is_symlink() else "not a file"


def _why_unlabelled(folder: Path, classes: Sequence[str]) -> str:
    if not classes:
        return f"Expected images in the sub-folders of {str(folder)!r}, one folder a class, but found none"
    tops = {name.partition("/")[0] for name in classes}
    deep = {name.partition("/")[0] for name in classes if "/" in name}
    splits = sorted(top for top in tops if top.lower() in SPLITS)
    if splits and (len(splits) == len(tops) or len(deep.intersection(splits)) > 1):
        return (
            f"Expected one split of pictures, a folder for each class in it, but {str(folder)!r} holds "
            f"{', '.join(splits)}: name one of them, {str(folder / splits[-1])!r}"
        )
    return ""


def _split_folder(folder: Path, split: str) -> Path:
    if split and not (folder / split).is_dir():
        known = sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
        listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise FileNotFoundError(
            f"Expected a folder {split!r} in {str(folder)!r} but got {listed or 'none'}{nearest(split, known)} "
            "(where these are the classes, the split is '')"
        )
    return folder / split
