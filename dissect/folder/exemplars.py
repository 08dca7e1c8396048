"""The images that a unit likes most: which they are, and its value there."""

from dataclasses import dataclass

from ..recording.layer_record import LayerRecord
from ..similarity.support import active_images


@dataclass(frozen=True)
class Exemplar:
    """One image that a unit answers to, and how strongly."""

    layer: str
    unit: int
    rank: int
    image: str
    value: float


def find_exemplars(record: LayerRecord, *, summary: str) -> list[list[tuple[int, float]]]:
    """For each unit the indices and values of its top images, best first: only those on which it speaks."""
    assert record.tops is not None
    images, values = record.tops.images.long(), record.tops.values
    spoken = active_images(record.summaries[summary], None if record.won is None else record.won[summary])
    counted = (images >= 0) & spoken.T.gather(1, images.clamp(min=0))
    return [
        [(i, value) for i, value, counts in zip(*row, strict=True) if counts]
        for row in zip(images.tolist(), values.tolist(), counted.tolist(), strict=True)
    ]
