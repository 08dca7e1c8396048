"""Annotations in MILAN's format: exemplars in a folder a layer, and a table of what people say of each unit."""

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..exemplars.milan_folder import MilanFolder
from .backbone import Backbone
from .training import Annotated


def annotated_units(exemplars: str | Path, annotations: str | Path, backbone: Backbone) -> list[Annotated]:
    """Every described unit with the features of its exemplars.

    Args:
        exemplars: `exemplars/LAYER/images.npy` and so on, as `MilanFolder` reads them.
        annotations: columns `layer`, `unit`, `summary`; a row a description.

    Raises:
        FileNotFoundError: no such file. ValueError: other columns, no unit of both, or another number of exemplars.
    """
    described = _descriptions(Path(annotations))
    units: list[Annotated] = []
    for layer in sorted({layer for layer, _ in described}):
        place = Path(exemplars) / layer
        if place.resolve().parent != Path(exemplars).resolve() or not place.is_dir():  # a table may come from anybody
            continue
        folder = MilanFolder.open(place)
        for row, unit in enumerate(folder.units.tolist()):
            if (layer, unit) not in described:
                continue
            pictures = [Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in folder.images[row]]
            masks = [torch.from_numpy(np.array(mask[0])).float() for mask in folder.masks[row]]
            units.append(Annotated(backbone.features(pictures, masks), tuple(described[layer, unit])))
    if not units:
        raise ValueError(
            f"Expected exemplars of units that {str(annotations)!r} describes in {str(exemplars)!r} but got none"
        )
    if len({len(unit.features) for unit in units}) > 1:
        raise ValueError(f"Expected layers with the same number of exemplars a unit in {str(exemplars)!r}")
    return units


def _descriptions(path: Path) -> dict[tuple[str, int], list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"Expected a CSV file of annotations but got {str(path)!r}")
    found: dict[tuple[str, int], list[str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"layer", "unit", "summary"} <= set(table.fieldnames or ()):
            raise ValueError(f"Expected the columns layer, unit, summary in {str(path)!r} but got {table.fieldnames}")
        for row in table:
            if (row["unit"] or "").isdecimal() and (row["summary"] or "").strip():
                found.setdefault((row["layer"], int(row["unit"])), []).append(row["summary"].strip())
    return found
