"""A brush draws one thing in its own unit square: on the picture, and on a stamp that says which pixels it owns."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Brush:
    """Shapes in the unit square of a thing, u to the right and v downwards, (0, 0) its upper left corner.

    `light` multiplies every colour and `haze` = (colour, share) is mixed in: night, sunset and fog cost nothing more.
    """

    def __init__(
        self,
        picture: Image.Image,
        box: tuple[float, float, float, float],
        *,
        mirrored: bool = False,
        light: tuple[float, float, float] = (1.0, 1.0, 1.0),
        haze: tuple[Colour, float] = ((255, 255, 255), 0.0),
    ):
        self.left, self.top, right, bottom = box
        self.width, self.height = right - self.left, bottom - self.top
        self.mirrored, self.light = mirrored, light
        air, share = haze
        self._factors = tuple(factor * (1 - share) for factor in light)
        self._added = tuple(value * share for value in air)
        self.canvas = ImageDraw.Draw(picture)
        self.stamp = Image.new("L", picture.size)
        self.mark = ImageDraw.Draw(self.stamp)
        self.windows: Image.Image | None = None

    def polygon(self, points: Sequence[Point], colour: Colour, *, glow: bool = False) -> None:
        """A filled polygon. What glows shines by its own light: neither night nor fog changes its colour."""
        places = [self._at(*point) for point in points]
        self.canvas.polygon(places, fill=colour if glow else self.shade(colour))
        self.mark.polygon(places, fill=255)

    def rectangle(self, u0: float, v0: float, u1: float, v1: float, colour: Colour) -> None:
        """A filled, upright rectangle."""
        box = self._box(u0, v0, u1, v1)
        self.canvas.rectangle(box, fill=self.shade(colour))
        self.mark.rectangle(box, fill=255)

    def ellipse(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, *, glow: bool = False) -> None:
        """A filled ellipse in a box."""
        box = self._box(u0, v0, u1, v1)
        self.canvas.ellipse(box, fill=colour if glow else self.shade(colour))
        self.mark.ellipse(box, fill=255)

    def pie(self, u0: float, v0: float, u1: float, v1: float, start: float, end: float, colour: Colour) -> None:
        """A slice of an ellipse between two angles in degrees, clockwise from the right."""
        if self.mirrored:
            start, end = 180 - end, 180 - start
        box = self._box(u0, v0, u1, v1)
        self.canvas.pieslice(box, start, end, fill=self.shade(colour))
        self.mark.pieslice(box, start, end, fill=255)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line of a width given as a share of the thing's width, two pixels at least."""
        places = [self._at(*point) for point in points]
        thick = max(2, round(width * self.width))
        self.canvas.line(places, fill=self.shade(colour), width=thick)
        self.mark.line(places, fill=255, width=thick)

    def window(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, *, glow: bool) -> None:
        """A window: a part with a mask of its own. One that glows is as bright by night as by day."""
        if self.windows is None:
            self.windows = Image.new("L", self.stamp.size)
        box = self._box(u0, v0, u1, v1)
        self.canvas.rectangle(box, fill=colour if glow else self.shade(colour))
        self.mark.rectangle(box, fill=255)
        ImageDraw.Draw(self.windows).rectangle(box, fill=255)

    def shade(self, colour: Colour) -> Colour:
        """The colour as it looks in this light and through this haze."""
        (r, g, b), (ar, ag, ab), (fr, fg, fb) = colour, self._added, self._factors
        return min(255, round(r * fr + ar)), min(255, round(g * fg + ag)), min(255, round(b * fb + ab))

    def _at(self, u: float, v: float) -> Point:
        if self.mirrored:
            u = 1 - u
        return (self.left + u * self.width, self.top + v * self.height)

    def _box(self, u0: float, v0: float, u1: float, v1: float) -> list[float]:
        if self.mirrored:
            u0, u1 = 1 - u1, 1 - u0
        x0, y0 = self.left + u0 * self.width, self.top + v0 * self.height
        x1, y1 = self.left + u1 * self.width, self.top + v1 * self.height
        return [x0, y0, max(x0 + 1, x1), max(y0 + 1, y1)]


def tone(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor below 1) or lighter (above 1, towards white)."""
    red, green, blue = colour
    if factor <= 1:
        return round(red * factor), round(green * factor), round(blue * factor)
    light = factor - 1
    return round(red + (255 - red) * light), round(green + (255 - green) * light), round(blue + (255 - blue) * light)
