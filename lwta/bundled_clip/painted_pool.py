"""The pictures that train the small CLIP, painted once into memory with everything that is true of them."""

import multiprocessing
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pictures.scenes import COLOURS, OBJECTS, SCENES, Scene, paint

from .statements import all_statements, truth

CELLS = 8  # a side of the coarse map of where things are
CELL_NAMES = (*OBJECTS, *COLOURS)


@dataclass(frozen=True)
class Pool:
    """Images uint8 (n, 3, 64, 64), truth int8 (n, statements), cells bool (n, names, 8, 8), scene numbers, captions."""

    images: Tensor
    truth: Tensor
    cells: Tensor
    labels: Tensor
    captions: tuple[tuple[str, ...], ...]


def paint_pool(split: str, count: int, *, seed: int = 0, processes: int = 2) -> Pool:
    """Paints the first pictures of a split; progress is shown."""
    paint_one = partial(_row, split=split, seed=seed)
    if processes == 1:
        parts = list(map(paint_one, range(count)))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as workers:
            rows = workers.imap(paint_one, range(count), chunksize=64)
            parts = list(tqdm(rows, total=count, desc=f"painting {split}", unit="picture", mininterval=5))
    *arrays, labels, captions = zip(*parts, strict=True)
    images, known, cells = (torch.from_numpy(np.stack(rows)) for rows in arrays)
    return Pool(images, known, cells, torch.tensor(labels), captions)


def where(scene: Scene) -> np.ndarray:
    """Which cells a thing, or a colour of a thing, fills by a quarter at least: bool (cell names, 8, 8)."""
    side = scene.image.width // CELLS
    shares = np.zeros((len(CELL_NAMES), CELLS, CELLS), np.float32)
    for thing in scene.things:
        share = thing.mask.reshape(CELLS, side, CELLS, side).mean((1, 3))
        for name in (thing.name, thing.colour):
            if name is not None:
                shares[CELL_NAMES.index(name)] += share
    return shares >= 0.25


def _row(index: int, *, split: str, seed: int) -> tuple:
    scene = paint(split, index, seed=seed)
    image = np.asarray(scene.image).transpose(2, 0, 1)
    return image, truth(scene, _statements()), where(scene), SCENES.index(scene.label), scene.captions


@cache
def _statements():
    return all_statements()
