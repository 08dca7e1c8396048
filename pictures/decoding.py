"""One picture file as RGB: CMYK, 16-bit, palette, transparent, rotated by its EXIF; or why it cannot be read."""

from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

EXTENSIONS = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
        *(".heic", ".heif"),  # a telephone's: read where Pillow has a plugin, else listed by name among the bad ones
    }
)


def read_rgb(file: Path | IO[bytes], *, at_least: int | None = None) -> Image.Image:
    """The picture upright, 8 bits a channel: 16-bit values are scaled (not clipped), transparency is laid on white.

    `at_least` so many pixels of its shorter side are enough: a JPEG is then decoded smaller, several times faster.
    """
    with Image.open(file) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB.

    >>> to_rgb(Image.new("I;16", (1, 1), 65535)).getpixel((0, 0))
    (255, 255, 255)
    """
    if image.mode[0] in "IF":
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def why_unreadable(path: Path) -> str:
    """Why the picture cannot be decoded, or nothing. Reads all of it: a truncated file opens well and fails later."""
    try:
        return why_undecodable(path.read_bytes())
    except OSError as error:
        return str(error)


def why_undecodable(data: bytes) -> str:
    """The same of a picture file's content."""
    if not data:
        return "0 bytes"
    try:
        with Image.open(BytesIO(data)) as image:
            image.draft("L", (1, 1))  # a JPEG is then decoded at an eighth of its size: several times faster
            image.load()
            image.getexif()
    except Image.UnidentifiedImageError:
        return "not an image"
    except Exception as error:  # each of Pillow's many decoders has its own way to refuse a broken file
        return str(error) or type(error).__name__
    return ""


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """One wide channel as 0..255: 16 bits by 1/257; 32 bits and floats by the range that their values fill."""
    largest = float(values.max())
    if mode.startswith("I;16") or largest > 255:
        scale = 1 / 257
    else:
        scale = 255 if mode == "F" and largest <= 1 else 1
    return np.clip(values * scale + 0.5, 0, 255).astype(np.uint8)
