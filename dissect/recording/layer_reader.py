"""One layer asked about other pictures than the probe's: crops, paintings, what a describer makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import nn

from ..probe.passes import Indexed, Transform, shared_batches
from .layer_record import LayerRecord, joined
from .maps import LayerMaps
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
            batches = shared_batches(pictures, [self.transform], self._batches(len(pictures)))
            parts = [(rows, recorder(x, rows)[self.layer]) for rows, (x,) in batches]
        return LayerRecord.from_tensors(self.layer, joined(parts, len(pictures))).unit_values(self.summary)

    def maps(self, pictures: Indexed, places: Sequence[int]) -> Iterator[LayerMaps]:
        """What its units say at each place of the pictures, batch by batch, in the order of `places`."""
        with recording(self.model, [self.layer], [self.summary]) as recorder:
            recorder.restart(0)
            runs = [places[rows.start : rows.stop] for rows in self._batches(len(places))]
            for _, (x,) in shared_batches(pictures, [self.transform], runs):
                yield recorder.maps(x)[self.layer]

    def _batches(self, count: int) -> Iterator[range]:
        return (range(at, min(at + self.batch_size, count)) for at in range(0, count, self.batch_size))
