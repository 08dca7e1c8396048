"""Pictures from any source, checked before work starts: named, with classes, in a fixed order."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self, get_args

from PIL import Image
from tqdm import tqdm

from competition_layers.terminal import plain

from .classes import class_numbers
from .decoding import PictureError, Raw, decode, why_unreadable
from .sources import list_pictures
from .sources.folder import join_files
from .sources.listing import Listing, Place, Reasons

OnBad = Literal["refuse", "skip", "trust"]
THREADS = min(4, os.cpu_count() or 1)  # decoding leaves Python's lock
_SHOWN = 10  # of a list of bad files


@dataclass(frozen=True)
class Pictures:
    """Pictures in a fixed order, decoded to RGB when asked for: `pictures[i]`.

    `positions` are their places among all the `found` ones of the source, before `limit` and before bad ones were
    skipped; `targets` their places in `classes`, empty where not all have one (`unlabelled` says why). `skipped` is
    what was left out, with the reasons; `hashes`, where they were asked for, are of the contents.
    """

    source: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    targets: tuple[int, ...] = field(repr=False)
    unlabelled: str
    skipped: Reasons
    positions: tuple[int, ...] = field(repr=False)
    found: int
    hashes: tuple[str, ...] = field(repr=False)
    listing: Listing = field(repr=False, compare=False)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class of each picture; None where not all have one."""
        return tuple(self.classes[target] for target in self.targets) if self.targets else None

    @property
    def files(self) -> tuple[Path, ...]:
        """The path of each picture, where the source is files."""
        return tuple(self.listing.files[i] for i in self.positions) if self.listing.files else ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return self._read(index)

    def small(self, index: int, pixels: int) -> Image.Image:
        """The picture with a shorter side of at least `pixels` where it has so many: a JPEG is decoded faster."""
        return self._read(index, at_least=pixels)

    def some(self, indices: Sequence[int], *, skipped: Reasons = ()) -> Self:
        """Those at `indices`; what is left out is listed as `skipped`."""
        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            targets=tuple(self.targets[i] for i in indices) if self.targets else (),
            positions=tuple(self.positions[i] for i in indices),
            hashes=tuple(self.hashes[i] for i in indices),
            skipped=self.skipped + skipped,
        )

    def alone(self) -> Self:
        """The same pictures, as if the source held no others."""
        load = partial(_load_at, self.listing.load, self.positions)
        files = tuple(self.listing.files[i] for i in self.positions) if self.listing.files else ()
        listing = replace(self.listing, names=self.names, load=load, targets=self.targets, files=files)
        return replace(self, listing=listing, positions=tuple(range(len(self))), found=len(self))

    def numbers(self, known: Sequence[str], *, whose: str = "the network") -> list[int]:
        """Each picture's class number among the `known` class names.

        Raises:
            ValueError: pictures without classes, or a class that is not among the known ones.
        """
        if not self.targets:
            raise ValueError(self.unlabelled)
        numbers = class_numbers(self.classes, known, where=self.source, whose=whose)
        return [numbers[target] for target in self.targets]

    def _read(self, index: int, *, at_least: int | None = None) -> Image.Image:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected an image between 0 and {len(self) - 1} but got {index}")
        try:
            return decode(self.listing.load(self.positions[index]), at_least=at_least)
        except Exception as error:  # it was readable when the source was opened; each source's library has its errors
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise PictureError(f"Expected image {self.names[index]!r} to be readable still but got: {why}") from error


def open_pictures(
    source: str | Path | Place,
    *,
    labelled: bool = False,
    on_bad: OnBad = "skip",
    limit: int | None = None,
    hashed: bool = False,
) -> Pictures:
    """Pictures from any source, or from the `Place` that names a split of it; each is read once before work starts.

    `FOLDER`: pictures in any nesting, a picture's class is the path of its folder. `FILE.safetensors`: uint8 `images`
    (N, H, W, 3), maybe `labels`. `wds/FOLDER`: the `.tar` shards in it, classes in `.cls` or `.txt`.
    `torch/NAME`, `hfds/NAME`: timm's names for data sets of torchvision and of the Hub. An image's path: that one.

    Args:
        labelled: pictures without a class are left out (a loose one beside class folders), or refused if all are.
        on_bad: `skip` leaves unreadable ones out and lists them in `.skipped`; `refuse` raises and names them; `trust`
            does not look.
        limit: so many pictures, evenly spaced over the sorted list (so that class folders keep their shares).
        hashed: hash the contents.

    Raises:
        FileNotFoundError: no such source or split. ValueError: no picture in it, or bad ones under `refuse`.
    """
    place = source if isinstance(source, Place) else Place(str(source))
    return _checked(list_pictures(place), str(place), labelled=labelled, on_bad=on_bad, limit=limit, hashed=hashed)


def open_files(paths: Sequence[str | Path]) -> Pictures:
    """The readable ones among picture files and the pictures in folders; `files` are their paths.

    Raises:
        FileNotFoundError: a path that is not there. ValueError: none is readable.
    """
    where = ", ".join(map(str, paths))
    return _checked(join_files({str(path): list_pictures(Place(str(path))) for path in paths}), where)


def _checked(
    listing: Listing,
    where: str,
    *,
    labelled: bool = False,
    on_bad: OnBad = "skip",
    limit: int | None = None,
    hashed: bool = False,
) -> Pictures:
    if on_bad not in get_args(OnBad):
        raise ValueError(f"Expected on_bad to be {', '.join(map(repr, get_args(OnBad)))} but got {on_bad!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1 but got {limit}")
    left_out = list(listing.left_out)
    candidates = list(range(len(listing.names)))
    if labelled:
        if listing.unlabelled:
            raise ValueError(listing.unlabelled)
        left_out += [(listing.names[i], "beside the classes, in none") for i in candidates if listing.targets[i] < 0]
        candidates = [i for i in candidates if listing.targets[i] >= 0]
    wanted = len(candidates) if limit is None else min(limit, len(candidates))
    spread = [candidates[i * len(candidates) // wanted] for i in range(wanted)]
    checked = _inspect(listing, spread, look=on_bad != "trust", hashed=hashed)
    bad = [*listing.bad, *((listing.names[i], why) for i, (_, why) in zip(spread, checked, strict=True) if why)]
    kept = [(i, content) for i, (content, why) in zip(spread, checked, strict=True) if not why]
    if bad and (on_bad == "refuse" or not kept):
        raise ValueError(
            f"Expected every image in {where!r} to be readable but {len(bad)} of {wanted + len(listing.bad)} are not"
            + (" (on_bad skip leaves them out)" if kept else "")
            + "".join(f"\n  {line}" for line in _listed(bad))
        )
    targets = tuple(listing.targets[i] for i, _ in kept) if listing.targets and not listing.unlabelled else ()
    loose = f"Expected a folder for each class in {where!r} but got images without classes"
    return Pictures(
        source=where,
        names=tuple(listing.names[i] for i, _ in kept),
        classes=listing.classes,
        targets=() if -1 in targets else targets,
        unlabelled=listing.unlabelled or (loose if -1 in targets else ""),
        skipped=(*bad, *left_out),
        positions=tuple(i for i, _ in kept),
        found=len(listing.names),
        hashes=tuple(content for _, content in kept),
        listing=listing,
    )


def _load_at(load: Callable[[int], Raw], positions: Sequence[int], index: int) -> Raw:
    return load(positions[index])


def print_skipped(skipped: Reasons) -> None:
    """Say what was left out, and why."""
    for line in _listed(skipped):
        print(f"skipped {plain(line)}")


def _listed(reasons: Sequence[tuple[str, str]]) -> list[str]:
    more = [f"{len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
    return [f"{name}: {why}" for name, why in reasons[:_SHOWN]] + more


def _inspect(listing: Listing, places: Sequence[int], *, look: bool, hashed: bool) -> list[tuple[str, str]]:
    """The content hash of each picture (where asked), and what is wrong with it."""

    def inspect(i: int) -> tuple[str, str]:
        try:
            raw = listing.load(i)
        except Exception as error:  # whatever the source's own library raises
            return "", getattr(error, "strerror", None) or str(error) or type(error).__name__
        why = why_unreadable(raw) if look else ""
        return _content_hash(raw) if hashed and not why else "", why

    if not look and not hashed:
        return [("", "")] * len(places)
    with ThreadPoolExecutor(THREADS) as pool:
        checks = pool.map(inspect, places)
        return list(tqdm(checks, total=len(places), desc="check images", unit="image", disable=None, leave=False))


def _content_hash(raw: Raw) -> str:
    if isinstance(raw, bytes):
        return hashlib.sha256(raw).hexdigest()
    if isinstance(raw, Image.Image):
        image = decode(raw)
        return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    return hashlib.sha256(raw.tobytes()).hexdigest()
