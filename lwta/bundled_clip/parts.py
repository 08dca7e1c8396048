"""Painted scenes and random parts of them, with what is seen where: what the small captioner is trained on."""

import multiprocessing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dissect.backends.bundled_captioner import KINDS, PAINTS, SIDE, WHOLES
from pictures.scenes import Scene, Thing, paint

from .statements import SEEN

LEAST_PART, MOST_PART = 24, 56  # pixels of 64: the sides of a part
FILLED = 0.1  # of a place: from here on a thing or colour is there
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Parts:
    """Images uint8 (n, 3, 64, 64); which kinds are there, 1, 0 or -1 (too few pixels to say), (n, kinds); how much of
    each of the 4 x 4 places a kind or colour fills (n, places, kinds + colours); scene, weather, time (n, 3)."""

    images: Tensor
    kinds: Tensor
    filled: Tensor
    wholes: Tensor


def part_of(scene: Scene, box: tuple[int, int, int, int]) -> Scene:
    """What is seen inside a box (left, top, right, bottom), stretched to the whole."""
    size = scene.image.size

    def stretched(thing: Thing) -> Thing:
        mask = Image.fromarray(thing.mask).crop(box).resize(size, Image.Resampling.NEAREST)
        return replace(thing, mask=np.asarray(mask))

    things = tuple(thing for thing in map(stretched, scene.things) if thing.mask.any())
    image = scene.image.crop(box).resize(size, Image.Resampling.BICUBIC)
    return replace(scene, image=image, things=things)


def paint_parts(split: str, count: int, *, seed: int, processes: int = 1) -> Parts:
    """So many pictures of a split, each followed by a random part of it."""
    rows: list[Any] = []
    with multiprocessing.get_context("spawn").Pool(processes) as workers:
        painted = workers.imap(partial(_both, split=split, seed=seed), range(count), chunksize=32)
        for both in tqdm(painted, total=count, desc=f"painting {split}", unit="picture", mininterval=5):
            rows += both
    return Parts(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def _both(index: int, *, split: str, seed: int) -> list[tuple[Array, ...]]:
    scene = paint(split, index, seed=seed)
    rng = np.random.default_rng([seed, index])
    width, height = rng.integers(LEAST_PART, MOST_PART + 1, 2)
    left, top = rng.integers(0, 64 - width + 1), rng.integers(0, 64 - height + 1)
    return [_row(of) for of in (scene, part_of(scene, (left, top, left + width, top + height)))]


def _row(scene: Scene) -> tuple[Array, ...]:
    pixels = np.zeros(len(KINDS), np.int64)
    filled = np.zeros((SIDE * SIDE, len(KINDS) + len(PAINTS)), np.float16)
    for thing in scene.things:
        share = thing.mask.reshape(SIDE, 64 // SIDE, SIDE, 64 // SIDE).mean((1, 3)).ravel()
        pixels[KINDS.index(thing.name)] += thing.mask.sum()
        filled[:, KINDS.index(thing.name)] += share
        if thing.colour is not None:
            filled[:, len(KINDS) + PAINTS.index(thing.colour)] += share
    kinds = np.where(pixels >= SEEN, 1, np.where(pixels == 0, 0, -1)).astype(np.int8)
    said = (scene.label, scene.attributes["weather"], scene.attributes["time"])
    wholes = np.array([names.index(name) for names, name in zip(WHOLES, said, strict=True)])
    return np.asarray(scene.image).transpose(2, 0, 1), kinds, filled, wholes
