"""How a place looks before anything stands in it: sky, backdrop, water, ground, and the weather in front of it all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .brush import Colour, tone

SKIES = {  # upper and lower colour of the sky
    ("day", "clear"): ((66, 146, 226), (190, 226, 246)),
    ("day", "dull"): ((142, 158, 176), (206, 214, 220)),
    ("sunset", "clear"): ((92, 70, 148), (255, 160, 96)),
    ("sunset", "dull"): ((112, 92, 126), (222, 158, 132)),
    ("night", "clear"): ((12, 16, 48), (48, 58, 108)),
    ("night", "dull"): ((26, 28, 44), (58, 62, 82)),
}
GROUND = {  # far and near colour of the ground
    "sand": ((236, 212, 152), (214, 180, 116)),
    "grass": ((138, 190, 96), (86, 150, 66)),
    "pavement": ((176, 176, 178), (134, 134, 140)),
    "earth": ((186, 148, 108), (146, 108, 74)),
    "field": ((238, 208, 108), (206, 166, 66)),
    "moss": ((92, 126, 76), (50, 86, 52)),
    "gravel": ((150, 140, 136), (106, 98, 96)),
    "snow": ((236, 242, 250), (214, 226, 242)),
}
HILLS = {"hills": (104, 154, 104), "mountains": (122, 128, 158), "woods": (52, 98, 72), "dunes": (222, 184, 120)}
WATER = ((92, 164, 212), (44, 112, 178))
LIGHT = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.88, 0.82), "night": (0.62, 0.64, 0.78)}


@dataclass(frozen=True)
class Place:
    """What is behind the things. `horizon` and `shore` are shares of the height: water lies between the two."""

    ground: str
    backdrop: str
    water: bool
    weather: str
    time: str
    horizon: float
    shore: float

    @property
    def light(self) -> tuple[float, float, float]:
        """The factors of red, green and blue for the ground at this time."""
        return LIGHT[self.time]

    @property
    def spotlight(self) -> tuple[float, float, float]:
        """The same for things, which are lit a little better: their colours can be told by night."""
        red, green, blue = self.light
        return 0.65 * red + 0.35, 0.65 * green + 0.35, 0.65 * blue + 0.35

    def haze(self, depth: float) -> tuple[Colour, float]:
        """The air's colour and its share at a depth (0 = far, 1 = near): fog hides what is far."""
        dim = 0.4 if self.time == "night" else 0.94
        share = 0.42 * (1 - depth) + 0.1 if self.weather == "foggy" else 0.1 * (1 - depth)
        return (round(214 * dim), round(218 * dim), round(226 * dim)), share


def paint_place(place: Place, side: int, rng: np.random.Generator) -> Image.Image:
    """The empty place, `side` pixels square."""
    sky = SKIES[place.time, "clear" if place.weather == "clear" else "dull"]
    horizon, shore = round(place.horizon * side), round(place.shore * side)
    rows = np.empty((side, 3))
    rows[:horizon] = _fade(sky[0], sky[1], horizon)
    far_water, near_water = (_lit(place, colour, 0.1) for colour in WATER)
    rows[horizon:shore] = _fade(far_water, near_water, shore - horizon)
    far, near = (_lit(place, GROUND[place.ground][n], 0.2 + 0.7 * n) for n in (0, 1))
    rows[shore:] = _fade(far, near, side - shore)
    picture = Image.fromarray(np.repeat(rows.round().astype(np.uint8)[:, None], side, axis=1))
    canvas = ImageDraw.Draw(picture)
    if place.time == "night" and place.weather == "clear":
        for x, y in rng.random((14, 2)):
            canvas.point((x * side, y * horizon * 0.9), fill=(226, 226, 240))
    _backdrop(canvas, place, side, horizon, rng)
    _texture(canvas, place, side, shore, rng)
    for y in np.linspace(horizon + 2, shore - 2, 3) if place.water else ():
        for x in rng.random(3):
            left = x * side
            ripple = _lit(place, (176, 216, 238), 0.3)
            canvas.line([left, y, left + 0.07 * side, y], fill=ripple)
    return picture


def paint_weather(picture: Image.Image, place: Place, rng: np.random.Generator) -> None:
    """Draws rain or snow over the finished picture (changes it)."""
    side = picture.width
    canvas = ImageDraw.Draw(picture, "RGBA")
    if place.weather == "rainy":
        for x, y in rng.random((42, 2)) * side:
            canvas.line([x, y, x - 0.025 * side, y + 0.09 * side], fill=(206, 220, 240, 150))
    if place.weather == "snowy":
        for x, y in rng.random((46, 2)) * side:
            canvas.ellipse([x, y, x + 1.6, y + 1.6], fill=(255, 255, 255, 230))


def _backdrop(canvas: ImageDraw.ImageDraw, place: Place, side: int, horizon: int, rng: np.random.Generator) -> None:
    if place.backdrop == "plain":
        return
    colour = HILLS[place.backdrop]
    if place.ground == "snow":
        colour = ((colour[0] + 2 * 226) // 3, (colour[1] + 2 * 234) // 3, (colour[2] + 2 * 246) // 3)
    steps, rough, high = {
        "hills": (24, 0, 0.14),
        "mountains": (7, 1, 0.24),
        "woods": (40, 0.5, 0.08),
        "dunes": (24, 0, 0.08),
    }[place.backdrop]
    for layer, depth in ((1.0, 0.0), (0.6, 0.25)):
        x = np.linspace(0, 1, steps)
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * (x * rng.uniform(0.8, 1.8) + rng.random()))
        ridge = layer * high * ((1 - rough) * (0.35 + 0.65 * wave) + rough * rng.random(steps))
        peaks = list(zip((x * side).tolist(), (horizon - ridge * side).tolist(), strict=True))
        canvas.polygon([(0, horizon), *peaks, (side, horizon)], fill=_lit(place, tone(colour, 1.25 - depth), depth))


def _texture(canvas: ImageDraw.ImageDraw, place: Place, side: int, shore: int, rng: np.random.Generator) -> None:
    near = GROUND[place.ground][1]
    tufts = rng.random((26, 2))
    for x, y in tufts:
        depth = float(y)
        left, top = x * side, shore + y * (side - shore)
        colour = _lit(place, tone(near, 0.86 if x < 0.6 else 1.2), depth)
        if place.ground == "grass":
            canvas.line([left, top, left + 1, top - 2 - 2 * depth], fill=colour)
        else:
            canvas.line([left, top, left + 1 + 4 * depth, top], fill=colour)


def _fade(upper: Colour, lower: Colour, count: int) -> np.ndarray[Any, Any]:
    return np.linspace(upper, lower, max(count, 1))[:count]


def _lit(place: Place, colour: Colour, depth: float) -> Colour:
    air, share = place.haze(depth)
    clear = 1 - share
    red, green, blue = (
        min(255, round(c * f * clear + a * share)) for c, f, a in zip(colour, place.light, air, strict=True)
    )
    return red, green, blue
