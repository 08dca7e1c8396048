"""The pictures of a page, each as a data URI: what the network saw, where units won, exemplars, regions."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..explaining.explanation import Explanation, Grid
from ..image_uris import Tiles, data_uri, encoded

VEIL, SOFT_VEIL = 0.82, 0.6  # how dark a place is where the unit lost: on the picture, on an exemplar
REGION_ALPHA = 140  # of 255
INSET = 16  # percent: no name of a region is written nearer to an edge
APART = 26, 9  # percent: names that stand nearer to one another, across and down, would overlap
NAMED_REGIONS = 5  # the largest ones: more would hide the picture
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8c6bb1")  # told apart by all
OTHERS = "#8a8f98"


def masks_uri(masks: Sequence[Grid], tiles: Tiles = Tiles()) -> str:
    """A veil over a strip, lifted as far as the unit spoke there: one pixel a place, tile by tile."""
    grids = masks[: tiles.count]
    height, width = len(grids[0]), len(grids[0][0])
    image = Image.new("LA", (width * len(grids), height))
    for at, grid in enumerate(grids):
        strongest = max(abs(value or 0.0) for row in grid for value in row) or 1.0
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                image.putpixel((at * width + x, y), (0, _alpha(value, strongest, SOFT_VEIL)))
    return data_uri(encoded(image, "PNG"), "png")


def veil_uri(grid: Grid) -> str:
    """A dark veil over the picture, lifted at each place as far as its value is large: one pixel a place."""
    strongest = max((abs(value) for row in grid for value in row if value is not None), default=0) or 1
    image = Image.new("LA", (len(grid[0]), len(grid)))
    image.putdata([(0, _alpha(value, strongest)) for row in grid for value in row])
    return data_uri(encoded(image, "PNG", optimize=True), "png")


def regions_uri(explanation: Explanation) -> str:
    """Each place in the colour of the unit that added most there; grey where that is none of those shown."""
    grid = explanation.regions or ()
    image = Image.new("RGBA", (len(grid[0]), len(grid)))
    image.putdata([_colour(row) for line in grid for row in line])
    return data_uri(encoded(image, "PNG", optimize=True), "png")


def region_names(explanation: Explanation) -> list[dict[str, Any]]:
    """For each unit with a region its name, and where to write it: the place of its own nearest to their middle."""
    grid = explanation.regions or ()
    owned: dict[int, list[tuple[int, int]]] = {}
    for y, line in enumerate(grid):
        for x, row in enumerate(line):
            owned.setdefault(row, []).append((y, x))
    owned.pop(-1, None)
    names: list[dict[str, Any]] = []
    for row in sorted(owned, key=lambda row: -len(owned[row])):
        effect, places = explanation.units[row], owned[row]
        middle = [sum(axis) / len(places) for axis in zip(*places, strict=True)]
        y, x = min(places, key=lambda place: (place[0] - middle[0]) ** 2 + (place[1] - middle[1]) ** 2)
        left, top = (round(100 * (at + 0.5) / size, 1) for at, size in ((x, len(grid[0])), (y, len(grid))))
        left = min(max(left, INSET), 100 - INSET)
        if all(abs(left - other["left"]) >= APART[0] or abs(top - other["top"]) >= APART[1] for other in names):
            names.append({"row": row, "label": effect.label, "left": left, "top": top})
    return names[:NAMED_REGIONS]


def _colour(row: int) -> tuple[int, int, int, int]:
    colour = COLOURS[row % len(COLOURS)] if row >= 0 else OTHERS
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue, REGION_ALPHA


def _alpha(value: float | None, strongest: float, veil: float = VEIL) -> int:
    lifted = 0 if value is None else (abs(value) / strongest) ** 0.5
    return round(255 * veil * (1 - lifted))
