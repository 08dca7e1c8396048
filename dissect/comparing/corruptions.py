"""Common corruptions at five strengths, in plain PIL and numpy: noise, blur, contrast, brightness, JPEG, pixelation.

After Hendrycks & Dietterich 2019 (arXiv 1903.12261), who have fifteen; the constants of contrast, JPEG and pixelation
are theirs. Noise is in shares of full scale, blur in shares of the picture's shorter side, so that both mean the same
at any size. A picture is brought to the network's input size before it is corrupted.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

STRENGTHS = 5
_NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)
_SHOT = (60, 25, 12, 5, 3)
_BLUR = (0.004, 0.007, 0.01, 0.015, 0.022)
_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
_BRIGHTNESS = (1.2, 1.4, 1.6, 1.8, 2.0)
_JPEG = (25, 18, 15, 10, 7)
_PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)


def gaussian_noise(image: Image.Image, strength: int) -> Image.Image:
    """Normal noise on every value."""
    pixels, random = _pixels(image), _generator(image)
    return _image(pixels + random.normal(scale=_NOISE[strength - 1], size=pixels.shape))


def shot_noise(image: Image.Image, strength: int) -> Image.Image:
    """Poisson noise: fewer photons, more of it."""
    photons, random = _SHOT[strength - 1], _generator(image)
    return _image(random.poisson(_pixels(image) * photons) / photons)


def blur(image: Image.Image, strength: int) -> Image.Image:
    """A Gaussian blur."""
    return image.filter(ImageFilter.GaussianBlur(_BLUR[strength - 1] * min(image.size)))


def contrast(image: Image.Image, strength: int) -> Image.Image:
    """Less contrast: values move to their mean over the picture, channel by channel."""
    pixels = _pixels(image)
    mean = pixels.mean((0, 1), keepdims=True)
    return _image((pixels - mean) * _CONTRAST[strength - 1] + mean)


def brightness(image: Image.Image, strength: int) -> Image.Image:
    """Brighter, with what is full staying full."""
    return ImageEnhance.Brightness(image).enhance(_BRIGHTNESS[strength - 1])


def jpeg(image: Image.Image, strength: int) -> Image.Image:
    """Compressed as JPEG."""
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=_JPEG[strength - 1])
    return Image.open(packed).convert("RGB")


def pixelate(image: Image.Image, strength: int) -> Image.Image:
    """Fewer, larger pixels."""
    share = _PIXELATE[strength - 1]
    small = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)


CORRUPTIONS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "gaussian noise": gaussian_noise,
    "shot noise": shot_noise,
    "blur": blur,
    "contrast": contrast,
    "brightness": brightness,
    "JPEG": jpeg,
    "pixelate": pixelate,
}


def corrupt(image: Image.Image, name: str, strength: int, *, side: int) -> Image.Image:
    """`image`, its shorter side brought to `side` pixels, corrupted; strength 1 to 5. The same picture gives the same.

    Raises:
        ValueError: an unknown corruption or strength.
    """
    if name not in CORRUPTIONS or not 1 <= strength <= STRENGTHS:
        known = ", ".join(CORRUPTIONS)
        raise ValueError(f"Expected a corruption among {known} at a strength from 1 to 5 but got {name!r}, {strength}")
    scale = side / min(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    sized = image.convert("RGB").resize(size, Image.Resampling.BICUBIC) if size != image.size else image.convert("RGB")
    return CORRUPTIONS[name](sized, strength)


def _generator(image: Image.Image) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(image.tobytes()))  # noise as a function of the picture


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))
