"""One layer asked about other pictures than the probe's: crops, paintings, what a describer makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import nn

from ..probe.passes import Transform
from .layer_record import LayerRecord, joined
from .recorder import recording
from .unit_values import UnitValues


@dataclass(frozen=True)
class LayerReader:
    """Reads a layer as the dissection did: by the same summary, transform and rule."""

    model: nn.Module
    layer: str
    summary: str
    transform: Transform
    batch_size: int = 64

    def values(self, pictures: Sequence[Image.Image]) -> UnitValues:
        """What its units say on these pictures, (pictures, units).

        Raises:
            ValueError: no pictures.
        """
        if not pictures:
            raise ValueError("Expected pictures to read the layer on but got none")
        with recording(self.model, [self.layer], [self.summary]) as recorder:
            recorder.restart(0)
            parts = [
                (rows, recorder(torch.stack([self.transform(pictures[i]) for i in rows]), rows)[self.layer])
                for rows in self._batches(len(pictures))
            ]
        return LayerRecord.from_tensors(self.layer, joined(parts, len(pictures))).unit_values(self.summary)

    def _batches(self, count: int) -> Iterator[range]:
        return (range(at, min(at + self.batch_size, count)) for at in range(0, count, self.batch_size))
