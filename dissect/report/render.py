"""Frozen values in, one self-contained HTML file out: styles, script and pictures stand inside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from competition_layers.attribution import METHODS
from competition_layers.files import write_file

from ..comparing.comparing import Comparison
from ..explaining.explanation import Explanation, Grid, UnitEffect
from ..folder.strips import GAP
from .numbers import duration, percent, signed

SHOWN_TILES = 6  # of an exemplar strip
CRISP = 96  # pixels of a side up to which a picture is kept without loss
VEIL = 0.82  # how dark a place is where the unit lost


def render_report(
    path: str | Path,
    explanations: Sequence[Explanation] = (),
    *,
    twins: Sequence[Explanation] = (),
    comparison: Comparison | None = None,
    title: str = "What decided?",
    made: Mapping[str, str] | None = None,
) -> Path:
    """Write the page to `path`, whole or not at all.

    Args:
        explanations: one an image, in the order shown.
        twins: the dense twin's explanations of the same images; none, or as many.
        comparison: the networks' figures, for the table.
        made: more lines for "How these numbers were made": what, and how.

    Raises:
        ValueError: nothing to show, or twins that do not match.
    """
    if not explanations and comparison is None:
        raise ValueError("Expected explanations or a comparison to show but got neither")
    if twins and [twin.image for twin in twins] != [explanation.image for explanation in explanations]:
        raise ValueError(
            f"Expected twins of the same {len(explanations)} images but got {[twin.image for twin in twins]}"
        )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "signed": signed,
        "percent": percent,
        "duration": duration,
        "picture": cache(_picture),  # the same picture stands in three places, a unit's strip in several pictures
        "strip": cache(_strip),
        "veil": _veil,
        "stem": lambda name: Path(name).name or name,
    }
    page = environment.get_template("page.html.j2").render(
        title=title,
        pairs=list(zip(explanations, twins or [None] * len(explanations), strict=True)),
        comparison=comparison,
        made=made or {},
        methods=METHODS,
        used={explanation.method for explanation in (*explanations, *twins)},
        scale=_scale,
    )
    with write_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _scale(explanation: Explanation) -> tuple[float, float]:
    """Where the zero line of the bars stands (a share of their width), and the share that one logit takes."""
    values = [0.0]
    for effect in explanation.units:
        values += [effect.to_margin, effect.off.margin]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return -low / span, 1 / span


def _veil(effect: UnitEffect) -> str:
    """A dark veil over the picture, lifted at each place as far as the unit spoke there: one pixel a place."""
    grid: Grid = effect.where or ()
    strongest = max((abs(value) for row in grid for value in row if value is not None), default=0) or 1
    image = Image.new("LA", (len(grid[0]), len(grid)))
    image.putdata([(0, _alpha(value, strongest)) for row in grid for value in row])
    return _data_uri(_encoded(image, "PNG", optimize=True), "png")


def _alpha(value: float | None, strongest: float) -> int:
    lifted = 0 if value is None else (abs(value) / strongest) ** 0.5
    return round(255 * VEIL * (1 - lifted))


def _strip(jpeg: bytes) -> str:
    """The first tiles of an exemplar strip, without its white gaps, in fewer bytes."""
    strip = Image.open(io.BytesIO(jpeg))
    side, step = strip.height, strip.height + GAP  # tiles are square
    starts = range(0, strip.width, step)[:SHOWN_TILES]
    row = Image.new("RGBA", (starts[-1] + side, side))
    for start in starts:
        row.paste(strip.crop((start, 0, start + side, side)), (start, 0))
    return _data_uri(_encoded(row, "WEBP", quality=78), "webp")


def _picture(png: bytes) -> str:
    """Small pictures pixel by pixel, larger ones compressed: a page of eight stays below 3 MB."""
    image = Image.open(io.BytesIO(png))
    if max(image.size) <= CRISP:
        return _data_uri(png, "png")
    return _data_uri(_encoded(image, "WEBP", quality=84), "webp")


def _encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
