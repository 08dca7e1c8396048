"""The images that a unit likes most: which they are, and its value there."""

from dataclasses import dataclass

from ..recording.layer_record import LayerRecord


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
    assert record.top_images is not None
    indices, values = record.top_images.indices.long(), record.top_images.values
    counted = (indices >= 0) & record.unit_values(summary).active.T.gather(1, indices.clamp(min=0))
    return [
        [(i, value) for i, value, counts in zip(*row, strict=True) if counts]
        for row in zip(indices.tolist(), values.tolist(), counted.tolist(), strict=True)
    ]
