"""Regions of a picture where a unit answers: Otsu's threshold, connected regions, boxes, crops."""

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

Box = tuple[int, int, int, int]  # left, top, right, bottom, half open
CROPS = 4  # a picture
OVERLAP = 0.5  # intersection over union with a box that was kept, at most
WHOLE = 0.8  # the same with the whole picture, below
_BINS = 256


def otsu_threshold(values: Float[Tensor, "height width"]) -> float:
    """The level that parts values into two classes of greatest variance between them, of 256 levels (Otsu 1979).

    >>> import torch
    >>> 1 < otsu_threshold(torch.tensor([[0.0, 1.0], [9.0, 10.0]])) < 9
    True
    """
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values.double().numpy(), bins=_BINS, range=(low, high if high > low else low + 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = counts.cumsum(), (counts * centres).cumsum()
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    between = np.nan_to_num(between)
    best = np.flatnonzero(between == between.max())  # a gap between the classes is one plateau: its middle
    return float(edges[(best[0] + best[-1]) // 2 + 1])


def connected_boxes(mask: Bool[Tensor, "height width"]) -> list[Box]:
    """The boxes of the regions of a mask (8-connected), the largest box first.

    >>> import torch
    >>> connected_boxes(torch.tensor([[True, True, False, False], [False, False, False, True]]))
    [(0, 0, 2, 1), (3, 1, 4, 2)]
    """
    steps = np.diff(np.pad(mask.numpy().astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    runs = list(zip(rows.tolist(), starts.tolist(), np.nonzero(steps == -1)[1].tolist(), strict=True))
    region = list(range(len(runs)))  # of each run one that it touches, or itself: the first of its region in the end

    def first_of(run: int) -> int:
        while region[run] != run:
            region[run] = run = region[region[run]]
        return run

    above = 0
    for here, (row, start, stop) in enumerate(runs):
        while runs[above][0] < row - 1 or (runs[above][0] == row - 1 and runs[above][2] < start):
            above += 1
        other = above
        while runs[other][0] == row - 1 and runs[other][1] <= stop:
            one, two = sorted((first_of(other), first_of(here)))
            region[two] = one
            other += 1
    boxes: dict[int, Box] = {}
    for here, (row, start, stop) in enumerate(runs):
        left, top, right, _ = boxes.get(first_of(here), (start, row, stop, row))
        boxes[first_of(here)] = (min(left, start), top, max(right, stop), row + 1)
    return sorted(boxes.values(), key=lambda box: (-_area(box), box))


def attended_boxes(stretched: Float[Tensor, "height width"], *, most: int = CROPS) -> list[Box]:
    """The boxes of the regions above Otsu's threshold of a unit's map at the picture's size, the largest first.

    A box is kept if it overlaps each kept one by at most .5 and the whole picture by less than .8 (intersection over
    union; Bai et al. 2024, appendix: attention cropping). A map without contrast has none.
    """
    if float(stretched.max()) <= float(stretched.min()):
        return []
    height, width = stretched.shape
    kept: list[Box] = []
    for box in connected_boxes(stretched > otsu_threshold(stretched)):
        if len(kept) < most and overlap(box, (0, 0, width, height)) < WHOLE:
            kept += [box] * all(overlap(box, other) <= OVERLAP for other in kept)
    return kept


def overlap(one: Box, other: Box) -> float:
    """Intersection over union.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0, wide) * max(0, high)
    return common / (_area(one) + _area(other) - common)


def crops(picture: Image.Image, boxes: list[Box]) -> list[Image.Image]:
    """The parts of a picture in the boxes, each stretched to the picture's size."""
    return [picture.crop(box).resize(picture.size, Image.Resampling.BICUBIC) for box in boxes]


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
