"""Pictures that networks are trained through on, in three splits: CIFAR-10's lossy JPEGs, painted scenes."""

import io
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from frozen_features import cifar_jpegs
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from competition_layers.files import write_file
from pictures.scenes import SCENES, paint

SIZES = {
    "cifar": {"train": 10_000, "val": 5_000, "test": 10_000},
    "scenes": {"train": 4_000, "val": 1_000, "test": 2_000},
    "cifar-long": {"train": 45_000, "val": 5_000, "test": 10_000},
    "scenes-long": {"train": 6_000, "val": 1_000, "test": 2_000},
}


def pictures(which: str, out: Path, *, quick: bool = False) -> Path:
    """A file of every split of `SIZES` in bytes, made once."""
    path = out / f"pictures-{which}.safetensors"
    if not path.is_file():
        sizes = dict.fromkeys(SIZES[which], 200) if quick else SIZES[which]
        splits = _scenes(sizes) if which.startswith("scenes") else _cifar(sizes)
        tensors = {k: v for split, x, y in splits for k, v in ((split, x), (f"{split}_labels", y))}
        with write_file(path) as temporary:
            save_file(tensors, temporary)
    return path


@cache
def opened(path: Path, device: str) -> dict[str, Tensor]:
    """Every split as networks take it, but for its size."""
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    tensors = {key: value.to(device) for key, value in load_file(path).items()}
    return {k: v if k.endswith("labels") else (v.float() / 255 - mean) / std for k, v in tensors.items()}


def _scenes(sizes: dict[str, int]) -> Iterator[tuple[str, Tensor, Tensor]]:
    for split, count in sizes.items():
        scenes = [paint(split, i) for i in range(count)]
        labels = torch.tensor([SCENES.index(scene.label) for scene in scenes])
        yield split, _bytes([scene.image for scene in scenes]), labels


def _cifar(sizes: dict[str, int]) -> Iterator[tuple[str, Tensor, Tensor]]:
    found = cifar_jpegs()
    for split, count in sizes.items():
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in found[split][:count]]
        yield split, _bytes(images), torch.tensor([label for _, label in found[split][:count]])


def _bytes(images: Sequence[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).movedim(-1, 1).contiguous()
