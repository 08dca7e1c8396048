"""The images a dissection looks at, in a fixed order, from anywhere: folders, tensors, tar shards, named data sets."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from pictures import sources

from ..fingerprints import digest

THREADS = min(4, os.cpu_count() or 1)  # decoding leaves Python's lock
_SHOWN = 10  # of a list of bad files


@dataclass(frozen=True)
class ProbeImages:
    """Images in a fixed order, decoded to RGB when asked for: `probe[i]`.

    `positions` are their places among all the `found` images of the source, before `limit` and before bad ones were
    skipped; `hashes` are of their content.
    """

    source: str
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]
    positions: tuple[int, ...]
    found: int
    hashes: tuple[str, ...] = field(repr=False)
    read: Callable[..., Image.Image] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return self._read(index)

    def small(self, index: int, pixels: int) -> Image.Image:
        """The picture with a shorter side of at least `pixels` where it has so many: a JPEG is decoded faster."""
        return self._read(index, at_least=pixels)

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all names and contents, in their order."""
        return digest(self.names, self.hashes)

    def _read(self, index: int, **options) -> Image.Image:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected an image between 0 and {len(self) - 1} but got {index}")
        try:
            return self.read(index, **options)
        except OSError as error:  # it was readable when the probe was opened
            raise OSError(f"Expected image {self.names[index]!r} to be readable still but got: {error}") from error


def open_probe(
    source: str | Path,
    *,
    on_bad: str = "skip",
    limit: int | None = None,
    root: str | Path = ".",
    split: str = "validation",
) -> ProbeImages:
    """Probe images from any source, each read once before work starts.

    `FOLDER`: pictures in any nesting; class folders give labels when all images lie equally deep. `FILE.safetensors`:
    uint8 `images` (N, H, W, 3), maybe `labels`. `wds/FOLDER`: the `.tar` shards in it, a label in `.cls` or `.txt`
    beside each picture. `torch/NAME`, `hfds/NAME`: timm's names for data sets of torchvision and of the Hub.

    Args:
        on_bad: `skip` leaves unreadable images out and lists them in `.skipped`; `refuse` raises and names them.
        limit: so many images, evenly spaced over the sorted list (so that class folders keep their shares).
        root: where `torch/NAME` and `hfds/NAME` lie; `wds/FOLDER` is taken relative to it.
        split: of `torch/NAME` and `hfds/NAME`.

    Raises:
        FileNotFoundError: no such source. ValueError: no image in it, or bad ones under `refuse`.
    """
    if on_bad not in ("skip", "refuse"):
        raise ValueError(f"Expected on_bad to be 'skip' or 'refuse' but got {on_bad!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1 but got {limit}")
    path, kind = Path(source), str(source).partition("/")[0]
    if path.is_dir():
        found = sources.folder(path)
    elif path.exists():
        found = sources.tensors(path)
    elif kind == "wds":
        found = sources.tar_shards(Path(root) / str(source).removeprefix("wds/"))
    elif kind in ("torch", "hfds"):
        found = sources.named(str(source), root, split)
    else:
        raise FileNotFoundError(
            "Expected a folder of images, a safetensors file, wds/FOLDER, torch/NAME or hfds/NAME "
            f"but got {str(source)!r}, which does not exist"
        )
    return _checked(found, str(source), on_bad=on_bad, limit=limit)


def _checked(found: sources.Found, source: str, *, on_bad: str, limit: int | None) -> ProbeImages:
    """The readable ones of `limit` pictures, evenly spread over what was found.

    Raises:
        ValueError: none is readable, or bad ones under `refuse`.
    """
    wanted = len(found.names) if limit is None else min(limit, len(found.names))
    spread = [i * len(found.names) // wanted for i in range(wanted)]
    with ThreadPoolExecutor(THREADS) as pool:
        checks = pool.map(found.inspect, spread)
        results = list(tqdm(checks, total=wanted, desc="check images", unit="image", disable=None, leave=False))
    skipped = tuple((found.names[i], why) for i, (_, why) in zip(spread, results, strict=True) if why)
    listed = "; ".join(f"{n} ({why})" for n, why in skipped[:_SHOWN]) + ("; ..." if len(skipped) > _SHOWN else "")
    if skipped and on_bad == "refuse":
        raise ValueError(f"Expected every image in {source!r} to be readable but got {len(skipped)} bad: {listed}")
    kept = [(i, content) for i, (content, why) in zip(spread, results, strict=True) if not why]
    if not kept:
        raise ValueError(f"Expected a readable image in {source!r} but got none: {listed}")
    places = tuple(i for i, _ in kept)
    return ProbeImages(
        source=source,
        names=tuple(found.names[i] for i in places),
        labels=None if found.labels is None else tuple(found.labels[i] for i in places),
        skipped=skipped,
        positions=places,
        found=len(found.names),
        hashes=tuple(content for _, content in kept),
        read=lambda i, **options: found.read(places[i], **options),
    )
