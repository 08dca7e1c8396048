"""The images that a unit likes most: a table, and one strip of pictures a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps
from tqdm import tqdm

from .probe import ProbeImages
from .records import LayerRecord
from .similarity.support import top_images

TILES = 8
PIXELS = 64  # of a tile's side


@dataclass(frozen=True)
class Exemplar:
    """One image that a unit answers to, and how strongly."""

    layer: str
    unit: int
    rank: int
    image: str
    value: float


def find_exemplars(record: LayerRecord, probe: ProbeImages, *, summary: str) -> list[list[tuple[int, float]]]:
    """For each unit the indices and values of its top images, best first: only those on which it speaks."""
    values = record.summaries[summary]
    order, counts = top_images(values, None if record.won is None else record.won[summary], TILES)
    best = [order[:count, unit].tolist() for unit, count in enumerate(counts.tolist())]
    return [[(i, float(values[i, unit])) for i in images] for unit, images in enumerate(best)]


def draw_strips(
    folder: Path, exemplars: Sequence[Sequence[tuple[int, float]]], tiles: dict[int, Image.Image], probe: ProbeImages
) -> None:
    """Write `folder/UNIT.png`, the unit's images side by side; thumbnails are kept in `tiles` for the next layer."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {i for images in exemplars for i, _ in images} - tiles.keys()
    for i in tqdm(sorted(wanted), desc="thumbnails", unit="image", disable=None, leave=False):
        tiles[i] = _tile(probe.small(i, 2 * PIXELS))
    for unit, images in enumerate(exemplars):
        strip = Image.new("RGB", (TILES * (PIXELS + 2) - 2, PIXELS), "white")
        for place, (i, _) in enumerate(images):
            strip.paste(tiles[i], (place * (PIXELS + 2), 0))
        strip.save(folder / f"{unit}.png", compress_level=1)


def _tile(image: Image.Image) -> Image.Image:
    # small pictures stay sharp: their pixels are what there is to see
    small = max(image.size) <= PIXELS
    return ImageOps.fit(image, (PIXELS, PIXELS), Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC)
