"""Labelled images from anywhere timm reads from, checked before training starts."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image
from timm.data import create_dataset

from competition_layers.names import nearest

from .decoding import read_rgb, why_unreadable

OnBad = Literal["refuse", "skip", "trust"]
_SHOWN = 10  # of a list of bad files
_SYNSET = re.compile(r"n\d{8}")


class LabelledImages(Protocol):
    """A sequence of (RGB picture, label) and the names of the labels."""

    label_names: tuple[str, ...]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...


class FolderImages:
    """FOLDER/CLASS/*.png: the classes are the sub-folders in natural order (timm's folder reader).

    Args:
        label_names: the classes are these, in this order; by default those that are found.

    Raises:
        FileNotFoundError: no such folder, or no images in its sub-folders.
        ValueError: unreadable images, where `on_bad` is `refuse`; or classes that are not among `label_names`.
    """

    def __init__(self, folder: str | Path, *, on_bad: OnBad = "refuse", label_names: Sequence[str] = ()):
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"Expected a folder of images but got {str(folder)!r}, which is not there")
        try:
            dataset = create_dataset("", str(folder), search_split=False)
        except RuntimeError as error:  # timm's "Found 0 images"
            raise FileNotFoundError(
                f"Expected images in the sub-folders of {str(folder)!r}, one folder a class, but found none"
            ) from error
        number_of = dataset.reader.class_to_idx
        found = sorted(number_of, key=number_of.__getitem__)
        self.label_names = tuple(label_names or found)
        # ImageNet's folders are WordNet's numbers, in the order of its classes, two of which share a name
        by_order = len(found) == len(self.label_names) and all(map(_SYNSET.fullmatch, found))
        for name in found if not by_order else ():
            if name not in self.label_names:
                raise ValueError(
                    f"Expected {str(folder)!r} to hold the classes that are trained but got {name!r} too"
                    f"{nearest(name, self.label_names)}"
                )
        number = list(range(len(found))) if by_order else [self.label_names.index(name) for name in found]
        files = [(Path(path), number[label]) for path, label in dataset.reader.samples]
        reasons = ["" if on_bad == "trust" else why_unreadable(path) for path, _ in files]
        self.files = [file for file, reason in zip(files, reasons, strict=True) if not reason]
        self.skipped = tuple((str(path), reason) for (path, _), reason in zip(files, reasons, strict=True) if reason)
        if self.skipped and (on_bad == "refuse" or not self.files):
            listed = [f"  {name}: {reason}" for name, reason in self.skipped[:_SHOWN]]
            more = [f"  and {len(self.skipped) - _SHOWN} more"] if len(self.skipped) > _SHOWN else []
            raise ValueError(
                f"Expected readable images but {len(self.skipped)} of {len(files)} are not "
                "(--data.on_bad skip leaves them out):\n" + "\n".join(listed + more)
            )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.files[index]
        try:
            return read_rgb(path), label
        except OSError as error:
            raise OSError(f"Expected a readable image but got {str(path)!r}: {error}") from error


class TimmImages:
    """A timm data set by name with images by index: `torch/...`, `hfds/...`."""

    def __init__(self, name: str, root: str | Path, split: str, **options: Any):
        self.dataset = create_dataset(name, root=str(root) or None, split=split, **options)
        self.label_names = _label_names(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self.dataset[index]
        return image.convert("RGB"), int(label)


class StreamedImages:
    """A timm data set that is read as it comes: `wds/...`, `tfds/...`, `hfids/...`. It shuffles and shards itself.

    Such a reader draws from generators of its own workers: batches repeat for a seed and a number of workers.
    """

    label_names: tuple[str, ...] = ()

    def __init__(self, name: str, root: str | Path, split: str, *, training: bool, **options: Any):
        self.dataset = create_dataset(name, root=str(root) or None, split=split, is_training=training, **options)

    def __len__(self) -> int:
        return len(self.dataset)

    def through(self, transform: Any, *, workers: int) -> Any:
        """The iterable data set, its pictures transformed."""
        self.dataset.transform = transform
        self.dataset.set_loader_cfg(num_workers=workers)
        return self.dataset


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


def folder_of(data_dir: str | Path, split: str) -> Path:
    """DATA_DIR/SPLIT; an empty split is the folder itself.

    Raises:
        FileNotFoundError: it is not there; what is there is named.
    """
    folder = Path(data_dir) / split
    if not folder.is_dir() and Path(data_dir).is_dir():
        known = sorted(path.name for path in Path(data_dir).iterdir() if path.is_dir())
        listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise FileNotFoundError(
            f"Expected a folder {split!r} in {str(data_dir)!r} but got {listed or 'none'}{nearest(split, known)} "
            "(where these are the classes: --data.train_split '')"
        )
    return folder


def is_streamed(dataset: str) -> bool:
    """Whether a timm data set of this name is read as it comes."""
    return dataset.partition("/")[0].lower() in ("wds", "tfds", "hfids")


def split_off(size: int, fraction: float, *, seed: int) -> tuple[Any, Any]:
    """Indices kept and indices held out: a share `fraction` of `size`, drawn by `seed`; both in ascending order."""
    order = np.random.default_rng(seed).permutation(size)
    held = round(size * fraction)
    return np.sort(order[held:]), np.sort(order[:held])


def _label_names(dataset: Any) -> tuple[str, ...]:
    reader = getattr(dataset, "reader", None)
    number_of = getattr(reader, "class_to_idx", None) or getattr(dataset, "class_to_idx", None)
    if number_of:
        return tuple(str(name) for name in sorted(number_of, key=number_of.__getitem__))
    if getattr(dataset, "classes", None):
        return tuple(map(str, dataset.classes))
    features = getattr(getattr(reader, "dataset", None), "features", None) or {}
    return tuple(getattr(features.get(getattr(reader, "label_key", "label")), "names", None) or ())
