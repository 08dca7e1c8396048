"""Fifteen common corruptions at five strengths, in numpy, torch and Pillow.

The kinds are those of Hendrycks & Dietterich 2019 (arXiv 1903.12261), and so are the constants of contrast, JPEG and
pixelation. The others are chosen so that they mean the same at any size: noise in shares of full scale, lengths in
shares of the picture's shorter side. Their frost lays photographs of frosted glass over the picture; here it is made of
random needles of ice. A picture is brought to the network's input size before it is corrupted, and chance is a function
of the picture: the same picture gives the same.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

STRENGTHS = 5
_NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)
_SHOT = (60, 25, 12, 5, 3)
_IMPULSE = (0.01, 0.03, 0.06, 0.1, 0.16)
_DEFOCUS = (0.02, 0.028, 0.036, 0.046, 0.06)
_GLASS = (0.004, 0.008, 0.012, 0.018, 0.026)
_MOTION = (0.04, 0.07, 0.1, 0.14, 0.18)
_ZOOM = (1.06, 1.11, 1.16, 1.21, 1.26)
_SNOW = (0.1, 0.2, 0.3, 0.4, 0.5)
_FROST = (0.15, 0.3, 0.45, 0.6, 0.75)
_FOG = (0.2, 0.35, 0.5, 0.65, 0.8)
_ELASTIC = (0.006, 0.012, 0.018, 0.025, 0.034)
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


def impulse_noise(image: Image.Image, strength: int) -> Image.Image:
    """Salt and pepper: a share of the values is full or empty."""
    pixels, random = _pixels(image), _generator(image)
    struck = random.random(pixels.shape) < _IMPULSE[strength - 1]
    return _image(np.where(struck, random.random(pixels.shape) < 0.5, pixels))


def defocus_blur(image: Image.Image, strength: int) -> Image.Image:
    """Out of focus: each point becomes a disc."""
    radius = _DEFOCUS[strength - 1] * min(image.size)
    y, x = np.mgrid[-np.ceil(radius) : np.ceil(radius) + 1, -np.ceil(radius) : np.ceil(radius) + 1]
    return _convolved(image, (radius + 0.5 - np.hypot(x, y)).clip(0, 1))  # its edge is as bright as it is covered


def glass_blur(image: Image.Image, strength: int) -> Image.Image:
    """Behind rough glass: every pixel is looked up a little aside, then smoothed."""
    spread = _GLASS[strength - 1] * min(image.size)
    aside = _generator(image).normal(scale=2 * spread, size=(image.height, image.width, 2))
    return _looked_up(image, aside).filter(ImageFilter.GaussianBlur(spread))


def motion_blur(image: Image.Image, strength: int) -> Image.Image:
    """The camera moved along a line."""
    angle = _generator(image).uniform(-np.pi / 4, np.pi / 4)
    return _drawn_out(image, _MOTION[strength - 1] * min(image.size), angle)


def zoom_blur(image: Image.Image, strength: int) -> Image.Image:
    """The camera moved ahead: the mean of the picture and of ever larger cut-outs of its middle."""
    seen = [_pixels(image)]
    for scale in np.linspace(1, _ZOOM[strength - 1], 8)[1:]:
        width, height = image.width / scale, image.height / scale
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (left, top, left + width, top + height)
        seen.append(_pixels(image.resize(image.size, Image.Resampling.BILINEAR, box=box)))
    return _image(np.mean(seen, 0))


def snow(image: Image.Image, strength: int) -> Image.Image:
    """Flakes that fall aslant over a picture with less colour."""
    pixels, random, amount = _pixels(image), _generator(image), _SNOW[strength - 1]
    flakes = _enlarged(random.random((48, 48)), image.size) > 1 - amount / 2
    fallen = _drawn_out(_image(flakes[..., None].repeat(3, 2)), 0.05 * min(image.size), random.uniform(0.8, 2.3))
    grey = pixels.mean(2, keepdims=True)
    pale = pixels + amount * (np.maximum(pixels, 0.5 + grey / 2) - pixels)
    return _image(pale + _pixels(fallen))


def frost(image: Image.Image, strength: int) -> Image.Image:
    """Needles of ice on the glass before the picture."""
    random, amount, side = _generator(image), _FROST[strength - 1], min(image.size)
    ice = Image.new("L", image.size, 60)
    canvas = ImageDraw.Draw(ice)
    for _ in range(90):
        x, y = random.random(2) * image.size
        angle, length = random.uniform(0, 2 * np.pi), random.exponential(0.25) * side
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        canvas.line([(x, y), end], fill=int(random.integers(120, 256)), width=max(1, side // 64))
    white = _pixels(ice.filter(ImageFilter.GaussianBlur(side / 100)))[..., None] * (0.85, 0.95, 1.0)
    return _image(_pixels(image) * (1 - amount * 0.6) + amount * white)


def fog(image: Image.Image, strength: int) -> Image.Image:
    """Banks of white before the picture: noise of all wavelengths, the long ones strongest."""
    random, amount = _generator(image), _FOG[strength - 1]
    bank = np.zeros((image.height, image.width))
    for octave in range(5):
        cells = 2 ** (octave + 1)
        bank += _enlarged(random.random((cells, cells)), image.size) / 2**octave
    bank = 0.5 + 0.5 * (bank - bank.min()) / max(float(np.ptp(bank)), 1e-9)
    return _image(_pixels(image) * (1 - amount * bank[..., None]) + amount * bank[..., None])


def brightness(image: Image.Image, strength: int) -> Image.Image:
    """Brighter, with what is full staying full."""
    return ImageEnhance.Brightness(image).enhance(_BRIGHTNESS[strength - 1])


def contrast(image: Image.Image, strength: int) -> Image.Image:
    """Less contrast: values move to their mean over the picture, channel by channel."""
    pixels = _pixels(image)
    mean = pixels.mean((0, 1), keepdims=True)
    return _image((pixels - mean) * _CONTRAST[strength - 1] + mean)


def elastic(image: Image.Image, strength: int) -> Image.Image:
    """Stretched and squeezed, differently from place to place."""
    random = _generator(image)
    aside = np.stack([_enlarged(random.normal(size=(8, 8)), image.size) for _ in range(2)], -1)
    return _looked_up(image, aside / aside.std() * _ELASTIC[strength - 1] * min(image.size))


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
    "impulse noise": impulse_noise,
    "defocus blur": defocus_blur,
    "glass blur": glass_blur,
    "motion blur": motion_blur,
    "zoom blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic": elastic,
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
    return np.random.default_rng(zlib.crc32(image.tobytes()))


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def _enlarged(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A coarse map drawn smoothly over a picture of `size`."""
    return np.asarray(Image.fromarray(cells.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))


def _drawn_out(image: Image.Image, length: float, angle: float) -> Image.Image:
    """Each point becomes a line of `length` pixels."""
    reach = int(np.ceil(length / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _convolved(image, (length / 2 + 0.5 - abs(along)).clip(0, 1) * (1 - abs(across)).clip(0, 1))


def _convolved(image: Image.Image, kernel: np.ndarray) -> Image.Image:
    """By Fourier's transform; beyond its edge the picture goes on as at the edge."""
    reach = len(kernel) // 2
    wide = np.pad(_pixels(image), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    size = wide.shape[:2]
    spectrum = np.fft.rfft2(wide, axes=(0, 1)) * np.fft.rfft2(kernel / kernel.sum(), s=size)[..., None]
    return _image(np.fft.irfft2(spectrum, s=size, axes=(0, 1))[2 * reach :, 2 * reach :])


def _looked_up(image: Image.Image, aside: np.ndarray) -> Image.Image:
    """Each pixel taken from `aside` (columns, rows) of its place, between pixels by their weighted mean."""
    y, x = np.mgrid[: image.height, : image.width]
    places = (np.stack([x, y], -1) + aside + 0.5) / image.size * 2 - 1  # as grid_sample counts: -1 to 1, edge to edge
    pixels = torch.from_numpy(_pixels(image)).permute(2, 0, 1)[None]
    found = F.grid_sample(pixels, torch.from_numpy(places)[None], padding_mode="border", align_corners=False)
    return _image(found[0].permute(1, 2, 0).numpy())
