"""Painted scenes on disk: an image folder and one table that says what is in each picture.

FOLDER/scenes.json                 the format's number and the settings: who finds them unchanged need not paint
FOLDER/scenes.jsonl                one row a picture: split, file, label, attributes, captions, things
FOLDER/SPLIT/LABEL/00017.png
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from . import vocabulary as law
from .painter import Mask, Scene, Thing, paint

FORMAT = 1
CHUNK = 64
Job = tuple[str, int]  # split, index
Row = dict[str, Any]  # of the table, or its header


def write_scenes(
    folder: str | Path,
    *,
    splits: dict[str, int],
    seed: int = 0,
    size: int = 64,
    processes: int | None = None,
    progress: bool = True,
) -> Path:
    """Paints so many pictures of each split into a folder; one that is already there with these settings is kept.

    Everything is written under another name beside it and renamed at the end, so a folder is whole or absent.
    With more than one of the `processes` (by default one a core) a script needs Python's usual
    `if __name__ == "__main__":`, as the workers import it.
    """
    folder = Path(folder)
    for split, count in splits.items():
        law.is_held_out(split)
        if count < 1:
            raise ValueError(f"Expected at least 1 picture of split {split!r} but got {count}.")
    settings = {"format": FORMAT, "seed": seed, "size": size, "splits": dict(sorted(splits.items()))}
    if folder.exists():
        return _check(folder, settings)
    unfinished = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        for split in splits:
            for label in law.SCENES:
                (unfinished / split / label).mkdir(parents=True)
        jobs = [(split, index) for split, count in splits.items() for index in range(count)]
        write = partial(_write_one, folder=unfinished, seed=seed, size=size)
        with open(unfinished / "scenes.jsonl", "w", encoding="utf-8") as table:
            rows = _map(write, jobs, processes)
            for row in tqdm(rows, total=len(jobs), desc="painting", unit="picture", disable=not progress):
                table.write(json.dumps(row) + "\n")
        (unfinished / "scenes.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def read_scenes(folder: str | Path, split: str) -> list[Scene]:
    """The pictures of one split as they were painted, in order; a file is opened when its pixels are used."""
    folder = Path(folder)
    header = folder / "scenes.json"
    if not header.is_file():
        raise FileNotFoundError(f"Expected a folder of painted scenes with a scenes.json but got {folder}.")
    settings = json.loads(header.read_text(encoding="utf-8"))
    if settings["format"] > FORMAT:
        raise ValueError(f"Expected format {FORMAT} or older but got {settings['format']} in {header}: update lwta.")
    if split not in settings["splits"]:
        raise ValueError(f"Expected a split among {', '.join(settings['splits'])} but got {split!r} of {folder}.")
    with open(folder / "scenes.jsonl", encoding="utf-8") as table:
        rows = (json.loads(line) for line in table)
        return [_scene(folder, row, settings["size"]) for row in rows if row["split"] == split]


def encode_mask(mask: Mask) -> list[int]:
    """A mask as lengths of runs, row by row, first of False, then of True, and so on.

    >>> encode_mask(np.array([[False, True], [True, False]]))
    [1, 2, 1]
    """
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(ends, prepend=0).tolist()


def decode_mask(runs: list[int], size: int) -> Mask:
    """The mask of these runs, bool (size, size)."""
    if sum(runs) != size * size:
        raise ValueError(f"Expected runs that fill {size} x {size} pixels but got {sum(runs)} pixels.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, size)


def _check(folder: Path, settings: Row) -> Path:
    header = folder / "scenes.json"
    if not header.is_file():
        raise FileExistsError(
            f"Expected no folder or one of painted scenes but got {folder}: give another or remove it."
        )
    found = json.loads(header.read_text(encoding="utf-8"))
    if found != settings:
        raise FileExistsError(
            f"Expected scenes painted with {settings} but got {found} in {folder}: give another folder or remove it."
        )
    return folder


def _map(write: Callable[[Job], Row], jobs: list[Job], processes: int | None) -> Iterator[Row]:
    """Rows in the order of the jobs, whatever the number of processes.

    Raises:
        RuntimeError: the processes cannot start, or one was killed.
    """
    processes = min(processes or os.cpu_count() or 1, 1 + len(jobs) // CHUNK)
    if processes == 1:
        yield from map(write, jobs)
        return
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            yield from pool.map(write, jobs, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"Expected {processes} processes to paint but they died: a script that calls write_scenes needs "
            "`if __name__ == '__main__':` around it, since they import it; or say processes=1"
        ) from error


def _write_one(job: Job, *, folder: Path, seed: int, size: int) -> Row:
    split, index = job
    scene = paint(split, index, seed=seed, size=size)
    file = f"{split}/{scene.label}/{index:05d}.png"
    scene.image.save(folder / file, compress_level=4)
    things = [
        {"name": t.name, "colour": t.colour, "box": t.box, "visible": round(t.visible, 4), "mask": encode_mask(t.mask)}
        for t in scene.things
    ]
    row: Row = {"split": split, "file": file, "label": scene.label}
    return row | {"attributes": scene.attributes, "captions": scene.captions, "things": things}


def _scene(folder: Path, row: Row, size: int) -> Scene:
    things = tuple(
        Thing(t["name"], t["colour"], decode_mask(t["mask"], size), tuple(t["box"]), t["visible"])
        for t in row["things"]
    )
    image = Image.open(folder / row["file"])
    return Scene(image, row["label"], things, row["attributes"], tuple(row["captions"]))
