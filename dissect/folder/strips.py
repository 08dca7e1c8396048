"""One strip of pictures a unit: its top images side by side, and the table of them."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from PIL import Image, ImageOps
from tqdm import tqdm

from competition_layers.files import write_file
from pictures.opening import THREADS
from pictures.sources.folder import NO_PICTURES

from ..probe.probe_images import ProbeImages
from ..recording.layer_record import LayerRecord
from ..recording.top_images import KEPT
from .exemplars import Exemplar, find_exemplars
from .layout import Layout
from .tables import read_exemplars, write_exemplars

PIXELS = 64  # of a tile's side
GAP = 2  # white columns between tiles
QUALITY = 90  # JPEG: a fraction of the time and the room of PNG
STRIPS = {"images": KEPT, "pixels": PIXELS, "quality": QUALITY}  # for the manifest


@dataclass(frozen=True)
class StripWriter:
    """Draws the strips of a dissection, layer by layer; thumbnails are kept for the next layer."""

    layout: Layout
    probe: ProbeImages
    _rows: list[Exemplar] = field(default_factory=list)
    _tiles: dict[int, Image.Image] = field(default_factory=dict)

    def draw(self, record: LayerRecord, *, summary: str) -> None:
        """The strips of one layer: `UNIT.jpg`, best image first; no file without any."""
        found = find_exemplars(record, summary=summary)
        for unit, images in enumerate(found):
            for rank, (i, value) in enumerate(images, start=1):
                self._rows.append(Exemplar(record.layer, unit, rank, self.probe.names[i], value))
        self._add_tiles(sorted({i for images in found for i, _ in images} - self._tiles.keys()))
        units = [unit for unit, images in enumerate(found) if images]
        self._remove_others(record.layer, set(units))
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda unit: self._draw(record.layer, unit, [i for i, _ in found[unit]]), units))

    @property
    def rows(self) -> int:
        """Of the table."""
        return len(self._rows)

    def finish(self) -> None:
        """Write the table; the strips of layers that only an older one lists are removed."""
        try:
            older = {row.layer for row in read_exemplars(self.layout)}
        except (FileNotFoundError, ValueError):  # none, or a damaged one
            older = set()
        for layer in older - {row.layer for row in self._rows}:
            self._remove_others(layer, set())
        write_exemplars(self.layout, self._rows)

    def _remove_others(self, layer: str, units: Collection[int]) -> None:
        place = self.layout.strip(layer, 0).parent
        place.mkdir(parents=True, exist_ok=True)
        (self.layout.strips / NO_PICTURES).touch()  # strips are no probe images, should this folder lie among those
        for path in place.glob("*.jpg"):
            if path.stem.isdecimal() and int(path.stem) not in units:
                path.unlink()

    def _add_tiles(self, wanted: Sequence[int]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            made = pool.map(lambda i: _tile(self.probe.small(i, 2 * PIXELS)), wanted)
            steps = tqdm(made, total=len(wanted), desc="thumbnails", unit="image", disable=None, leave=False)
            self._tiles.update(zip(wanted, steps, strict=True))

    def _draw(self, layer: str, unit: int, images: Sequence[int]) -> None:
        strip = Image.new("RGB", (len(images) * (PIXELS + GAP) - GAP, PIXELS), "white")
        for place, i in enumerate(images):
            strip.paste(self._tiles[i], (place * (PIXELS + GAP), 0))
        with write_file(self.layout.strip(layer, unit)) as temporary:
            strip.save(temporary, "JPEG", quality=QUALITY, subsampling=0)


def _tile(image: Image.Image) -> Image.Image:
    # small pictures stay sharp: their pixels are what there is to see
    small = max(image.size) <= PIXELS
    return ImageOps.fit(image, (PIXELS, PIXELS), Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC)
