"""Exemplars in the folder layout of MILAN's published code: read, and written for its tools (MAIA's too).

A folder a layer: `images.npy` uint8 (units, k, 3, size, size), `masks.npy` uint8 (units, k, 1, size, size),
`activations.csv` and `ids.csv` (a row a unit), `units.npy` where not all units are there. Images and masks are
memory-mapped: a layer may take gigabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from competition_layers.files import refuse_others, write_folder

from ..probe.probe_images import ProbeImages
from .exemplar_set import ExemplarSet

SIZE = 224  # pixels: MILAN's
_MARK = "lwta.json"  # says that the files beside it are ours to replace
_FILES = ("images.npy", "masks.npy", "activations.csv", "ids.csv", "units.npy", _MARK)
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class MilanFolder:
    """What such a folder holds; `ids` are places in the data set that was looked at, `units` the units' numbers."""

    images: Array  # (units, k, 3, height, width) uint8
    masks: Array  # (units, k, 1, height, width) uint8, 0 or 1
    activations: Array  # (units, k)
    ids: Array  # (units, k)
    units: Array  # (units,)

    @classmethod
    def open(cls, folder: str | Path) -> "MilanFolder":
        """Read a folder of one layer; nothing is unpickled.

        Raises:
            FileNotFoundError: no images.npy or masks.npy there. ValueError: damaged, or of other shapes.
        """
        place = Path(folder)
        images, masks = _mapped(place / "images.npy"), _mapped(place / "masks.npy")
        if images.ndim != 5 or images.dtype != np.uint8 or images.shape[2] != 3:
            raise ValueError(
                f"Expected images.npy of uint8 (units, k, 3, height, width) in {str(place)!r} but got {images.dtype} "
                f"{images.shape}"
            )
        expected = (*images.shape[:2], 1, *images.shape[3:])
        if masks.shape != expected or masks.dtype not in (np.uint8, np.bool_):
            raise ValueError(f"Expected masks.npy of uint8 {expected} in {str(place)!r} but got {_kind(masks)}")
        tables = [_table(place / name, images.shape[:2]) for name in ("activations.csv", "ids.csv")]
        units = np.arange(len(images))
        if (place / "units.npy").is_file():
            units = _mapped(place / "units.npy")
            if units.shape != (len(images),) or units.dtype.kind not in "iu":
                raise ValueError(f"Expected units.npy of {len(images)} whole numbers but got {_kind(units)}")
        return cls(images, masks, tables[0], tables[1].astype(np.int64), units)


def write_milan_folder(
    folder: str | Path,
    exemplars: ExemplarSet,
    probe: ProbeImages,
    units: Sequence[int] | None = None,
    *,
    size: int = SIZE,
) -> Path:
    """Write the exemplars of a layer in one piece; a unit with fewer than k images repeats its last, one without any is
    left out.

    Args:
        units: some of the layer's; by default all.

    Raises:
        FileExistsError: `folder` holds files of these names that were not written here.
    """
    count = exemplars.images.shape[1]
    asked = range(len(exemplars.images)) if units is None else units
    kept = [unit for unit in asked if exemplars.places(unit)]
    with write_folder(folder, names=_FILES, ours=_is_ours) as place:
        images = np.lib.format.open_memmap(place / "images.npy", "w+", np.uint8, (len(kept), count, 3, size, size))
        masks = np.lib.format.open_memmap(place / "masks.npy", "w+", np.uint8, (len(kept), count, 1, size, size))
        for row, unit in enumerate(tqdm(kept, desc="write exemplars", unit="unit", disable=None, leave=False)):
            places, found = exemplars.places(unit), exemplars.masks(unit, (size, size)).numpy()
            for rank in range(count):
                at = min(rank, len(places) - 1)
                # nearest, as MILAN resizes: a mask is of these pixels
                picture = probe[places[at]].resize((size, size), Image.Resampling.NEAREST)
                images[row, rank] = np.asarray(picture).transpose(2, 0, 1)
                masks[row, rank, 0] = found[at]
        images.flush()
        masks.flush()
        last = [[min(rank, len(exemplars.places(unit)) - 1) for rank in range(count)] for unit in kept]
        for name, table, form in (("activations.csv", exemplars.values, "%.5e"), ("ids.csv", exemplars.images, "%d")):
            rows = np.array([table[unit][ranks].tolist() for unit, ranks in zip(kept, last, strict=True)])
            np.savetxt(place / name, rows.reshape(len(kept), count), form, delimiter=",")
        np.save(place / "units.npy", np.array(kept, np.int64))
        (place / _MARK).write_text('{"format": 1}\n', encoding="utf-8")
    return Path(folder)


def check_exemplars_folder(folder: str | Path) -> None:
    """Refuse, before any work, a folder that `write_milan_folder` would not replace."""
    refuse_others(Path(folder), names=_FILES, ours=_is_ours)


def _is_ours(place: Path) -> bool:
    return (place / _MARK).is_file()


def _kind(array: Array) -> str:
    return f"{array.dtype} {array.shape}"


def _mapped(path: Path) -> Array:
    if not path.is_file():
        raise FileNotFoundError(f"Expected exemplars in MILAN's layout but got no {str(path)!r}")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"Expected a whole array in {str(path)!r} but got: {error}") from error


def _table(path: Path, shape: tuple[int, ...]) -> Array:
    """Numbers of a CSV file; zeros where it is missing: they are not needed to describe."""
    if not path.is_file():
        return np.zeros(shape)
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"Expected numbers in {str(path)!r} but got: {error}") from error
    if rows.shape != shape:
        raise ValueError(f"Expected {shape[0]} rows of {shape[1]} numbers in {str(path)!r} but got {rows.shape}")
    return rows
