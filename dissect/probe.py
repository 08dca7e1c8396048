"""The images a dissection looks at: a folder of pictures, or a safetensors file that holds them."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from competition_layers.pictures import EXTENSIONS, read_rgb, why_unreadable

from .store import digest

OnBad = Literal["skip", "refuse"]
_THREADS = min(4, os.cpu_count() or 1)  # decoding leaves Python's lock


@dataclass(frozen=True)
class ProbeImages:
    """Images in a fixed order, decoded to RGB when asked for: `probe[i]`.

    `positions` are their places among all the `found` images of the source, before `limit` and before bad ones were
    skipped.
    """

    source: str
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]
    positions: tuple[int, ...]
    found: int
    fingerprint: str
    read: Callable[[int], Image.Image] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected an image between 0 and {len(self) - 1} but got {index}")
        return self.read(index)


def open_probe(source: str | Path, *, on_bad: OnBad = "skip", limit: int | None = None) -> ProbeImages:
    """Probe images from a folder (any nesting) or from a safetensors file with uint8 `images` (N, H, W, 3), maybe
    `labels`.

    Every image is read once before work starts. Class folders give labels when all images lie equally deep.

    Args:
        on_bad: `skip` leaves unreadable images out and lists them in `.skipped`; `refuse` raises and names them.
        limit: so many images, evenly spaced over the sorted list (so that class folders keep their shares).

    Raises:
        FileNotFoundError: no such source. ValueError: no image in it, or bad ones under `refuse`.
    """
    source = Path(source)
    if on_bad not in ("skip", "refuse"):
        raise ValueError(f"Expected on_bad to be 'skip' or 'refuse' but got {on_bad!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1 but got {limit}")
    if not source.exists():
        raise FileNotFoundError(
            f"Expected a folder of images or a safetensors file but got {str(source)!r}, which does not exist"
        )
    return _open_folder(source, on_bad, limit) if source.is_dir() else _open_tensors(source, limit)


def batches(probe: ProbeImages, transform: Callable[[Image.Image], Tensor], *, batch_size: int) -> Iterator[Tensor]:
    """The transformed images in order, stacked; threads read the next batch while the caller works on this one."""
    starts = range(0, len(probe), batch_size)
    with ThreadPoolExecutor(_THREADS) as pool:

        def submit(start: int) -> list:
            indices = range(start, min(start + batch_size, len(probe)))
            return [pool.submit(lambda i: transform(probe[i]), i) for i in indices]

        ahead = submit(0)
        for start in starts:
            now, ahead = ahead, submit(start + batch_size)
            yield torch.stack([future.result() for future in now])


def _open_folder(folder: Path, on_bad: OnBad, limit: int | None) -> ProbeImages:
    files = [path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")]
    names = sorted(path.relative_to(folder).as_posix() for path in files if path.is_file())
    if not names:
        raise ValueError(
            f"Expected images ({', '.join(sorted(EXTENSIONS))}) in the folder {str(folder)!r} but got none"
        )
    positions = _spread(len(names), limit)
    with ThreadPoolExecutor(_THREADS) as pool:
        checks = pool.map(lambda i: why_unreadable(folder / names[i]), positions)
        reasons = tqdm(checks, total=len(positions), desc="check images", unit="image", disable=None, leave=False)
        bad = {i: reason for i, reason in zip(positions, reasons, strict=True) if reason}
    skipped = tuple((names[i], reason) for i, reason in bad.items())
    listed = "; ".join(f"{name} ({reason})" for name, reason in skipped[:10]) + ("; ..." if len(skipped) > 10 else "")
    if skipped and on_bad == "refuse":
        raise ValueError(f"Expected every image in {str(folder)!r} to be readable but got {len(skipped)} bad: {listed}")
    positions = [i for i in positions if i not in bad]
    if not positions:
        raise ValueError(f"Expected a readable image in {str(folder)!r} but got none: {listed}")
    kept = tuple(names[i] for i in positions)
    return ProbeImages(
        source=str(folder),
        names=kept,
        labels=_labels(kept),
        skipped=skipped,
        positions=tuple(positions),
        found=len(names),
        fingerprint=digest([(name, _file_hash(folder / name)) for name in kept]),
        read=lambda i: read_rgb(folder / kept[i]),
    )


def _open_tensors(path: Path, limit: int | None) -> ProbeImages:
    if path.suffix != ".safetensors":
        raise ValueError(f"Expected a folder of images or a .safetensors file but got {str(path)!r}")
    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        if "images" not in keys:
            raise ValueError(f"Expected a tensor 'images' in {str(path)!r} but got {', '.join(keys) or 'none'}")
        images = file.get_tensor("images")
        labels = file.get_tensor("labels").tolist() if "labels" in keys else None
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(
            f"Expected 'images' in {str(path)!r} as uint8 (N, H, W, 3) but got {images.dtype} {tuple(images.shape)}"
        )
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"Expected {len(images)} labels in {str(path)!r} but got {len(labels)}")
    positions = _spread(len(images), limit)
    kept = images[positions] if len(positions) < len(images) else images
    width = len(str(len(images) - 1))
    return ProbeImages(
        source=str(path),
        names=tuple(f"{i:0{width}d}" for i in positions),
        labels=None if labels is None else tuple(str(labels[i]) for i in positions),
        skipped=(),
        positions=tuple(positions),
        found=len(images),
        fingerprint=digest(kept, positions),
        read=lambda i: Image.fromarray(kept[i].numpy()),
    )


def _spread(found: int, limit: int | None) -> list[int]:
    wanted = found if limit is None else min(limit, found)
    return [i * found // wanted for i in range(wanted)]


def _labels(names: tuple[str, ...]) -> tuple[str, ...] | None:
    parents = [name.split("/")[:-1] for name in names]
    depths = {len(parent) for parent in parents}
    if len(depths) > 1 or 0 in depths:
        return None
    return tuple(parent[-1] for parent in parents)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
