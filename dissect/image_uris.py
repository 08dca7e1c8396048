"""Pictures as data URIs: addresses that need no request."""

import base64
import io
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from PIL import Image

from .folder.strips import GAP

CRISP = 96  # pixels of a side up to which a picture is kept without loss


@dataclass(frozen=True)
class Tiles:
    """How much of a strip of exemplars is shown: so many tiles, of so many pixels a side at most, how well."""

    count: int = 6
    side: int = 64
    quality: int = 78


def picture_uri(png: bytes) -> str:
    """Small pictures pixel by pixel, larger ones compressed: a page of eight stays below 3 MB."""
    image = Image.open(io.BytesIO(png))
    if max(image.size) <= CRISP:
        return data_uri(png, "png")
    return data_uri(encoded(image, "WEBP", quality=84), "webp")


def strip_uri(jpeg: bytes, tiles: Tiles = Tiles()) -> str:
    """The first tiles of an exemplar strip, without its white gaps, in fewer bytes."""
    strip = Image.open(io.BytesIO(jpeg))
    side, step = strip.height, strip.height + GAP  # tiles are square
    starts = range(0, strip.width, step)[: tiles.count]
    row = Image.new("RGB", (len(starts) * side, side))
    for at, start in enumerate(starts):
        row.paste(strip.crop((start, 0, start + side, side)), (at * side, 0))
    if side > tiles.side:
        row = row.resize((len(starts) * tiles.side, tiles.side), Image.Resampling.BILINEAR)
    return data_uri(encoded(row, "WEBP", quality=tiles.quality), "webp")


def tile_count(jpeg: bytes, tiles: Tiles = Tiles()) -> int:
    """How many tiles of a strip are shown."""
    strip = Image.open(io.BytesIO(jpeg))
    return min(tiles.count, len(range(0, strip.width, strip.height + GAP)))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of this kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def data_uri(data: bytes, kind: str) -> Markup:
    """The bytes of a picture as an address that needs no request; letters that are safe anywhere on a page."""
    return Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
