"""Labelled images from anywhere timm reads from, checked before training starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image
from timm.data import create_dataset

from competition_layers.pictures import read_rgb, why_unreadable

OnBad = Literal["refuse", "skip", "trust"]


class LabelledImages(Protocol):
    """A sequence of (RGB picture, label) and the names of the labels."""

    label_names: tuple[str, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...


class FolderImages:
    """FOLDER/CLASS/*.png: the classes are the sub-folders, in alphabetical order (timm's folder reader).

    Raises:
        FileNotFoundError: no such folder, or no images in its sub-folders.
        ValueError: unreadable images, where `on_bad` is `refuse`; all are named.
    """

    def __init__(self, folder: str | Path, *, on_bad: OnBad = "refuse"):
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"Expected a folder of images but got {str(folder)!r}, which is not there")
        try:
            dataset = create_dataset("", str(folder))
        except RuntimeError as error:  # timm's "Found 0 images"
            raise FileNotFoundError(
                f"Expected images in the sub-folders of {str(folder)!r}, one folder a class, but found none"
            ) from error
        names = dataset.reader.class_to_idx
        self.label_names = tuple(sorted(names, key=names.__getitem__))
        self.files = [(Path(path), label) for path, label in dataset.reader.samples]
        self.skipped: tuple[tuple[str, str], ...] = ()
        if on_bad != "trust":
            reasons = [(path, why_unreadable(path)) for path, _ in self.files]
            self.skipped = tuple((str(path), reason) for path, reason in reasons if reason)
            self.files = [file for file, (_, reason) in zip(self.files, reasons, strict=True) if not reason]
        if self.skipped and on_bad == "refuse":
            raise ValueError(
                f"Expected readable images but {len(self.skipped)} are not (on_bad=skip leaves them out):\n"
                + "\n".join(f"  {name}: {reason}" for name, reason in self.skipped)
            )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.files[index]
        return read_rgb(path), label


class TimmImages:
    """A timm data set by name: `torch/...`, `hfds/...`, `wds/...`, `tfds/...`."""

    def __init__(self, name: str, root: str | Path, split: str, *, download: bool = False):
        self.dataset = create_dataset(name, root=str(root) or None, split=split, download=download)
        reader = getattr(self.dataset, "reader", None)
        names = getattr(reader, "class_to_idx", None) or getattr(self.dataset, "class_to_idx", None) or {}
        names = names or dict(zip(getattr(self.dataset, "classes", ()), range(10**6), strict=False))
        self.label_names = tuple(str(name) for name in sorted(names, key=names.__getitem__))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self.dataset[index]
        return image.convert("RGB"), int(label)


class Subset:
    """Some of `images`, in the order of `indices`; decoded once and kept where `cache` is set."""

    def __init__(self, images: LabelledImages, indices: Sequence[int], *, cache: bool = False):
        self.images, self.indices, self.label_names = images, list(indices), images.label_names
        self.kept: dict[int, tuple[np.ndarray, int]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if self.kept is None:
            return self.images[self.indices[index]]
        if index not in self.kept:
            image, label = self.images[self.indices[index]]
            self.kept[index] = (np.asarray(image), label)
        pixels, label = self.kept[index]
        return Image.fromarray(pixels), label


def open_images(dataset: str, data_dir: str, split: str, *, on_bad: OnBad, download: bool = False) -> LabelledImages:
    """`dataset` is empty for a folder (data_dir/split, or data_dir itself where there is no such sub-folder)."""
    if dataset:
        return TimmImages(dataset, data_dir, split, download=download)
    folder = Path(data_dir) / split
    if not folder.is_dir() and Path(data_dir).is_dir():
        known = sorted(path.name for path in Path(data_dir).iterdir() if path.is_dir())
        raise FileNotFoundError(f"Expected a folder {split!r} in {data_dir!r} but got {', '.join(known) or 'none'}")
    return FolderImages(folder, on_bad=on_bad)


def split_off(size: int, fraction: float, *, seed: int) -> tuple[Any, Any]:
    """Indices kept and indices held out: a share `fraction` of `size`, drawn by `seed`; both in ascending order."""
    order = np.random.default_rng(seed).permutation(size)
    held = round(size * fraction)
    return np.sort(order[held:]), np.sort(order[:held])
