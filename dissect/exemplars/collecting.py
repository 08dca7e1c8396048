"""Collect a layer's exemplars: who they are from the record, where the units spoke from one more pass."""

from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from ..naming.halves import Halves
from ..probe.probe_images import ProbeImages
from ..recording.layer_reader import LayerReader
from ..recording.unit_values import UnitValues
from .exemplar_set import EXEMPLARS, QUANTILE, ExemplarSet, top_distinct
from .quantiles import upper_quantile


def collect_exemplars(
    reader: LayerReader, probe: ProbeImages, values: UnitValues, halves: Halves, *, keep: int = EXEMPLARS
) -> ExemplarSet:
    """The exemplars of every unit among the choosing half of the images (on the other half names are judged).

    Args:
        values: what the units said on all images of the probe.
    """
    some = values.on(halves.choosing)  # in `content_order`: so are equals
    best = top_distinct(some.values, some.active, halves.blocks[halves.choosing], keep=keep)
    images = torch.where(best < 0, -1, halves.choosing[best.clamp(min=0)])
    said = torch.where(best < 0, 0.0, some.values.T.gather(1, best.clamp(min=0)))
    maps, won, thresholds = _maps(reader, probe, halves.choosing.sort().values, images)  # in the probe's order
    return ExemplarSet(images.int(), said.float(), maps, thresholds, won)


def _maps(
    reader: LayerReader, probe: ProbeImages, chosen: Int[Tensor, "chosen"], images: Int[Tensor, "units kept"]
) -> tuple[
    Float[Tensor, "units kept height width"], Bool[Tensor, "units kept height width"] | None, Float[Tensor, "units"]
]:
    """Of each unit the maps on its images, where it won, and its threshold over all that are `chosen`."""
    units, kept = images.shape
    maps = won = quantile = None
    done = 0
    with tqdm(total=len(chosen), desc=f"exemplars of {reader.layer}", unit="image", disable=None, leave=False) as bar:
        for part in reader.maps(probe, chosen.tolist()):
            count, (height, width) = len(part.values), part.values.shape[2:]
            if maps is None:
                maps = torch.from_numpy(_on_disk((units, kept, height, width), np.float16))
                won = None if part.won is None else torch.from_numpy(_on_disk(tuple(maps.shape), np.bool_))
                quantile = upper_quantile(len(chosen) * height * width, units, QUANTILE)
            assert quantile is not None
            quantile.add(part.values.flatten(2))
            for row, place in enumerate(chosen[done : done + count].tolist()):
                unit, rank = (images == place).nonzero(as_tuple=True)
                maps[unit, rank] = part.values[row, unit].half()
                if won is not None and part.won is not None:
                    won[unit, rank] = part.won[row, unit]
            done += count
            bar.update(count)
    assert maps is not None and quantile is not None
    return maps, won, quantile.compute()


def _on_disk(shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """Zeros that are written in any order, in a file without a name: maps of a wide layer are gigabytes."""
    with TemporaryFile() as file:  # the mapping outlives it
        return np.memmap(file, dtype=kind, mode="w+", shape=shape)
