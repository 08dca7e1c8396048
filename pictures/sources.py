"""Where probe images come from: each source lists its pictures and reads one by its place; all are checked alike."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from os.path import splitext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .decoding import EXTENSIONS, read_rgb, why_undecodable


@dataclass(frozen=True)
class Found:
    """What a source holds, before any of it was read: `inspect(i)` gives the hash of a picture and what is wrong."""

    names: Sequence[str]
    labels: Sequence[str] | None
    read: Callable[..., Image.Image]
    inspect: Callable[[int], tuple[str, str]]


def folder(path: Path) -> Found:
    """The pictures in a folder, however deep, in the order of their names."""
    files = [file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".")]
    names = sorted(file.relative_to(path).as_posix() for file in files if file.is_file())
    if not names:
        raise ValueError(f"Expected images ({', '.join(sorted(EXTENSIONS))}) in the folder {str(path)!r} but got none")
    return _encoded(names, _class_folders(names), lambda i: (path / names[i]).read_bytes())


def tar_shards(path: Path) -> Found:
    """The pictures in a folder's `.tar` files (WebDataset), shard by shard; labels from `KEY.cls` or `KEY.txt`."""
    shards = sorted(path.glob("*.tar"))
    if not shards:
        raise FileNotFoundError(f"Expected .tar shards in the folder {str(path)!r} but got none")
    pictures, labels = [], {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = splitext(f"{shard.name}/{member.name}")
                if suffix.lower() in EXTENSIONS:
                    pictures.append((f"{key}{suffix}", key, shard, member.offset_data, member.size))
                elif suffix in (".cls", ".txt"):
                    labels[key] = _part(shard, member.offset_data, member.size).decode().strip()
    if not pictures:
        raise ValueError(f"Expected images ({', '.join(sorted(EXTENSIONS))}) in {str(path / '*.tar')!r} but got none")

    known = [labels[key] for _, key, *_ in pictures if key in labels]
    names = [name for name, *_ in pictures]
    return _encoded(names, known if len(known) == len(names) else None, lambda i: _part(*pictures[i][2:]))


def tensors(path: Path) -> Found:
    """The uint8 `images` (N, H, W, 3) of a safetensors file, read one by one: the file may be larger than memory."""
    if path.suffix != ".safetensors":
        raise ValueError(f"Expected a folder of images or a .safetensors file but got {str(path)!r}")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    if "images" not in header:
        keys = ", ".join(key for key in header if key != "__metadata__")
        raise ValueError(f"Expected a tensor 'images' in {str(path)!r} but got {keys or 'none'}")
    kind, shape = header["images"]["dtype"], header["images"]["shape"]
    if kind != "U8" or len(shape) != 4 or shape[-1] != 3 or not shape[0]:
        raise ValueError(f"Expected 'images' in {str(path)!r} as uint8 (N, H, W, 3) but got {kind} {tuple(shape)}")
    number, height, width, _ = shape
    start, each = 8 + size + header["images"]["data_offsets"][0], height * width * 3

    def read(i: int, *, at_least: int | None = None) -> Image.Image:
        return Image.fromarray(np.frombuffer(_part(path, start + i * each, each), np.uint8).reshape(height, width, 3))

    digits = len(str(number - 1))
    return Found(
        names=[f"{i:0{digits}d}" for i in range(number)],
        labels=_tensor_labels(path, number) if "labels" in header else None,
        read=read,
        inspect=lambda i: (hashlib.sha256(_part(path, start + i * each, each)).hexdigest(), ""),
    )


def named(name: str, root: str | Path, split: str) -> Found:
    """A data set that timm makes from its name, with pictures by their place: `torch/cifar10`, `hfds/OWNER/NAME`."""
    from timm.data import create_dataset  # seconds to import, and only these sources need it

    try:
        dataset = create_dataset(name, root=str(root), split=split)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Expected the package {error.name!r} for {name!r} but it is not installed; pip install {error.name}",
            name=error.name,
        ) from error
    classes = getattr(dataset, "classes", None) or []
    digits = len(str(len(dataset) - 1))

    def read(i: int, *, at_least: int | None = None) -> Image.Image:
        return dataset[i][0].convert("RGB")

    def inspect(i: int) -> tuple[str, str]:
        try:
            image = read(i)
        except Exception as error:  # whatever the data set's own reader raises
            return "", str(error) or type(error).__name__
        return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest(), ""

    return Found(
        names=[f"{i:0{digits}d}" for i in range(len(dataset))],
        labels=_dataset_labels(dataset, classes),
        read=read,
        inspect=inspect,
    )


def _encoded(names: Sequence[str], labels: Sequence[str] | None, load: Callable[[int], bytes]) -> Found:
    """Picture files, by their bytes: hashed and checked in one reading."""

    def inspect(i: int) -> tuple[str, str]:
        try:
            data = load(i)
        except OSError as error:
            return "", str(error)
        return hashlib.sha256(data).hexdigest(), why_undecodable(data)

    return Found(names, labels, lambda i, **options: read_rgb(BytesIO(load(i)), **options), inspect)


def _part(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _class_folders(names: Sequence[str]) -> list[str] | None:
    parents = [name.split("/")[:-1] for name in names]
    depths = {len(parent) for parent in parents}
    return None if len(depths) > 1 or 0 in depths else [parent[-1] for parent in parents]


def _tensor_labels(path: Path, number: int) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        labels = file.get_tensor("labels").tolist()
    if len(labels) != number:
        raise ValueError(f"Expected {number} labels in {str(path)!r} but got {len(labels)}")
    return [str(label) for label in labels]


def _dataset_labels(dataset: Any, classes: Sequence[str]) -> list[str] | None:
    """Class names, where the data set lists the targets without decoding its pictures."""
    targets = getattr(dataset, "targets", None)
    if targets is None or not len(classes):
        return None
    return [str(classes[int(target)]) for target in targets]
