"""One picture as RGB: CMYK, 16-bit, float, palette, transparent, rotated by its EXIF; or why it cannot be read."""

from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image

EXTENSIONS = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
        *(".heic", ".heif"),  # a telephone's: read where Pillow has a plugin, else listed by name among the bad ones
    }
)
# what a file may be, whatever its name says: Pillow knows 40 formats, and starts an interpreter for some (EPS)
FORMATS = ("JPEG", "PNG", "MPO", "WEBP", "BMP", "GIF", "PPM", "TIFF", "AVIF", "HEIF")
MAX_PIXELS = 2 * 89_478_485  # where Pillow itself refuses: a file of a few bytes may claim any size
MAX_RATIO = 100  # of the sides: resizing 1 x 100,000 pixels to a shorter side of 224 takes gigabytes

Raw = bytes | np.ndarray | Image.Image  # a picture as its source has it: a file's content, uint8 (H, W, 3), decoded

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(OSError):
    """A picture that cannot be read, and why."""


def decode(raw: Raw, *, at_least: int | None = None) -> Image.Image:
    """`raw` upright in mode RGB (see `read_rgb`)."""
    if isinstance(raw, bytes):
        if not raw:
            raise PictureError("0 bytes")
        return read_rgb(BytesIO(raw), at_least=at_least)
    image = Image.fromarray(raw) if isinstance(raw, np.ndarray) else raw
    _check_size(image)
    return to_rgb(_upright(image))


def read_rgb(file: Path | IO[bytes], *, at_least: int | None = None) -> Image.Image:
    """The picture upright, 8 bits a channel: wider values are scaled (not clipped), transparency is laid on white.

    `at_least` so many pixels of its shorter side are enough: a JPEG is then decoded smaller, several times faster.

    Raises:
        PictureError: it cannot be read; the reason is given.
    """
    Image.init()
    try:
        with Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            _check_size(image)
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            return to_rgb(_upright(image))
    except PictureError:
        raise
    except Image.UnidentifiedImageError as error:
        raise PictureError("not an image") from error
    except Exception as error:  # each of Pillow's many decoders has its own way to refuse a broken file
        raise PictureError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error


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


def why_unreadable(picture: Path | Raw) -> str:
    """Why the picture cannot be read, or nothing. Decodes all of it: a truncated file opens well and fails later."""
    try:
        decode(picture.read_bytes() if isinstance(picture, Path) else picture, at_least=1)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"{width} x {height} pixels are more than {MAX_PIXELS}")
    if max(image.size) > MAX_RATIO * min(image.size):
        raise PictureError(f"{width} x {height} pixels: one side is more than {MAX_RATIO} times the other")


def _upright(image: Image.Image) -> Image.Image:
    # not Pillow's exif_transpose: it writes the EXIF anew, which fails where a field of it is broken
    image.load()
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # no EXIF that Pillow can read: the pixels are good
        orientation = None
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _eight_bits(values: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, Any]:
    """One wide channel as 0..255, from the range that its finite values fill; what is no number is the darkest."""
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif mode == "I":  # Pillow of before 11 has 16 bits as 32
        low, high = _range(least, most, ((0, 255), (0, 65535)))
    else:
        low, high = _range(least, most, ((0, 1), (-1, 1), (0, 255)))
    shares = (np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.clip(shares * 255 + 0.5, 0, 255).astype(np.uint8)


def _range(least: float, most: float, usual: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """The first of the `usual` ranges that holds all values; else theirs, from 0 where none is negative."""
    fitting = [(low, high) for low, high in usual if low <= least and most <= high]
    return fitting[0] if fitting else (min(0.0, least), most if most > min(0.0, least) else least + 1)
