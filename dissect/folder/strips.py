"""One strip of pictures a unit: its top images side by side, and the table of them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps
from tqdm import tqdm

from competition_layers.files import write_folder

from ..probe.probe_images import THREADS, ProbeImages
from ..recording.layer_record import LayerRecord
from ..recording.top_images import KEPT
from .exemplars import Exemplar, find_exemplars
from .tables import write_exemplars

PIXELS = 64  # of a tile's side
GAP = 2  # white columns between tiles
QUALITY = 90  # JPEG: a fraction of the time and the room of PNG
STRIPS = {"images": KEPT, "pixels": PIXELS, "quality": QUALITY}  # for the manifest


@contextmanager
def showing(probe: ProbeImages, out: Path) -> Iterator[Callable[..., None]]:
    """Inside the block call what it yields with each layer's record; at its end `out` has the strips and the table."""
    rows: list[Exemplar] = []
    tiles: dict[int, Image.Image] = {}
    with write_folder(out / "exemplars") as temporary:

        def show(record: LayerRecord, *, summary: str) -> None:
            found = find_exemplars(record, summary=summary)
            draw_strips(temporary / record.layer, found, tiles, probe)
            for unit, images in enumerate(found):
                ranked = enumerate(images, start=1)
                rows.extend(Exemplar(record.layer, unit, rank, probe.names[i], value) for rank, (i, value) in ranked)

        yield show
    write_exemplars(out, rows)


def draw_strips(
    folder: Path, exemplars: Sequence[Sequence[tuple[int, float]]], tiles: dict[int, Image.Image], probe: ProbeImages
) -> None:
    """Write `folder/UNIT.jpg`, the unit's images side by side (no file without any); thumbnails are kept in `tiles` for
    the next layer."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = sorted({i for images in exemplars for i, _ in images} - tiles.keys())

    def draw(unit: int) -> None:
        strip = Image.new("RGB", (len(exemplars[unit]) * (PIXELS + GAP) - GAP, PIXELS), "white")
        for place, (i, _) in enumerate(exemplars[unit]):
            strip.paste(tiles[i], (place * (PIXELS + GAP), 0))
        strip.save(folder / f"{unit}.jpg", quality=QUALITY, subsampling=0)

    with ThreadPoolExecutor(THREADS) as pool:
        made = pool.map(lambda i: _tile(probe.small(i, 2 * PIXELS)), wanted)
        tiles.update(
            zip(
                wanted,
                tqdm(made, total=len(wanted), desc="thumbnails", unit="image", disable=None, leave=False),
                strict=True,
            )
        )
        list(pool.map(draw, [unit for unit, images in enumerate(exemplars) if images]))


def _tile(image: Image.Image) -> Image.Image:
    # small pictures stay sharp: their pixels are what there is to see
    small = max(image.size) <= PIXELS
    return ImageOps.fit(image, (PIXELS, PIXELS), Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC)
