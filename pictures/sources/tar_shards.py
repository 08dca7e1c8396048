"""The `.tar` files of a folder (WebDataset): `KEY.jpg` is a picture, `KEY.cls` or `KEY.txt` its class."""

import re
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ..decoding import EXTENSIONS
from ..names import is_hidden, natural_key, readable_name
from .listing import Listing, Place, numbered

_FIRST = ("jpg", "jpeg", "png", "webp")  # of several pictures with one key: the others are masks and the like
Part = tuple[Path, int, int]  # shard, offset, size


def open_shards(place: Place) -> Listing:
    """Pictures shard by shard, in the order of their members.

    A key ends at the first dot of a member's name: `7.seg.png` belongs to `7.jpg` and is no picture. A split is a
    sub-folder, or a word in the shards' names (`set-train-0001.tar`).
    """
    folder = Path(place.root) / place.source.partition("/")[2]
    bad: list[tuple[str, str]] = []
    samples: dict[str, dict[str, Part]] = {}  # by key: what there is by its ending
    for shard in _shards(folder, place.split):
        try:
            for key, ending, part in _members(shard):
                samples.setdefault(key, {})[ending] = part
        except (tarfile.TarError, OSError) as error:
            bad.append((shard.name, str(error)))
    pictures: list[tuple[str, Part]] = []
    labels: list[str | None] = []
    left_out = []
    marked = "cls" if any("cls" in sample for sample in samples.values()) else "txt"  # else .txt may be captions
    for key, sample in samples.items():
        mine = _picture(sample)
        left_out += [
            (f"{key}.{ending}", f"not the picture of {key!r}")
            for ending in sample
            if ending != mine and f".{ending.rpartition('.')[2]}" in EXTENSIONS
        ]
        if mine:
            pictures.append((f"{key}.{mine}", sample[mine]))
            label = _read([sample[marked]], 0).decode(errors="replace").strip() if marked in sample else ""
            labels.append(readable_name(label) or None)
    if not pictures:
        raise ValueError(
            f"Expected images ({', '.join(sorted(EXTENSIONS))}) in {str(folder / '*.tar')!r} but got none"
            + "".join(f"; {name}: {why}" for name, why in bad)
        )
    known = sorted({label for label in labels if label}, key=natural_key)
    return Listing(
        names=tuple(name for name, _ in pictures),
        load=partial(_read, [part for _, part in pictures]),
        **numbered(labels, known),
        unlabelled="" if known else f"Expected classes in {str(folder)!r}, KEY.cls beside each picture, but got none",
        bad=tuple(bad),
        left_out=tuple(left_out),
    )


def _members(shard: Path) -> Iterator[tuple[str, str, Part]]:
    with tarfile.open(shard, "r:") as tar:  # not compressed: pictures are read by their offsets
        for member in tar:
            folder, slash, base = member.name.removeprefix("./").rpartition("/")
            stem, _, ending = base.partition(".")
            if member.isfile() and not any(map(is_hidden, [*folder.split("/"), base])):
                key = readable_name(f"{shard.name}/{folder}{slash}{stem}")
                yield key, ending.lower(), (shard, member.offset_data, member.size)


def _picture(sample: dict[str, Part]) -> str:
    """The ending of a sample's picture; nothing where it has none."""
    endings = [ending for ending in sample if f".{ending}" in EXTENSIONS]
    return min(endings, key=lambda ending: (*_FIRST, ending).index(ending), default="")


def _shards(folder: Path, split: str) -> list[Path]:
    if split and (folder / split).is_dir():
        folder, split = folder / split, ""
    shards = sorted(path for path in folder.glob("*.tar") if not is_hidden(path.name))
    word = re.compile(rf"(?<![a-z0-9]){re.escape(split.lower())}(?![a-z0-9])")
    chosen = [shard for shard in shards if not split or word.search(shard.stem.lower())]
    if not chosen:
        there = f" of the split {split!r}" if shards else ""
        raise FileNotFoundError(
            f"Expected .tar shards{there} in the folder {str(folder)!r} but got "
            + (", ".join(shard.name for shard in shards[:8]) or "none")
        )
    return chosen


def _read(parts: Sequence[Part], index: int) -> bytes:
    path, start, size = parts[index]
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)
