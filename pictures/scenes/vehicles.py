"""How things that move or fly are drawn: ships, cars, trains, kites. One function a kind, as in `nature`."""

from collections.abc import Iterable

from numpy.random import Generator

from .brush import Brush, Colour, tone

TYRE = (34, 34, 38)
GLASS = (176, 214, 236)
STEEL = (120, 124, 132)


def boat(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.47, 0.02, 0.53, 0.7, (110, 78, 50))
    brush.polygon([(0.55, 0.06), (0.92, 0.6), (0.55, 0.6)], (244, 240, 228))
    brush.polygon([(0.45, 0.14), (0.45, 0.6), (0.14, 0.6)], tone((244, 240, 228), 0.9))
    brush.polygon([(0, 0.64), (1, 0.64), (0.82, 1), (0.16, 1)], colour)
    brush.polygon([(0.08, 0.82), (0.92, 0.82), (0.82, 1), (0.16, 1)], tone(colour, 0.8))


def ship(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.2, 0.34, 0.72, 0.62, (236, 236, 232))
    for u in (0.26, 0.4, 0.54):
        brush.rectangle(u, 0.42, u + 0.07, 0.52, (70, 90, 120))
    for u in (0.3, 0.5):
        brush.rectangle(u, 0.06, u + 0.13, 0.36, colour)
        brush.rectangle(u, 0.06, u + 0.13, 0.14, tone(colour, 0.6))
    brush.polygon([(0, 0.58), (1, 0.52), (0.86, 1), (0.1, 1)], colour)
    brush.polygon([(0.06, 0.84), (0.92, 0.84), (0.86, 1), (0.1, 1)], tone(colour, 0.75))


def car(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0.18, 0.48), (0.3, 0.08), (0.7, 0.08), (0.86, 0.48)], colour)
    brush.polygon([(0.26, 0.46), (0.34, 0.17), (0.48, 0.17), (0.48, 0.46)], GLASS)
    brush.polygon([(0.54, 0.46), (0.54, 0.17), (0.67, 0.17), (0.77, 0.46)], GLASS)
    brush.rectangle(0.02, 0.44, 0.98, 0.82, colour)
    brush.rectangle(0.02, 0.7, 0.98, 0.82, tone(colour, 0.75))
    brush.rectangle(0.92, 0.5, 0.98, 0.62, (255, 236, 160))
    _wheels(brush, (0.24, 0.76), 0.13)


def bus(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.02, 0.02, 0.98, 0.88, colour)
    for u in (0.08, 0.26, 0.44, 0.62):
        brush.rectangle(u, 0.16, u + 0.14, 0.46, GLASS)
    brush.rectangle(0.81, 0.16, 0.94, 0.8, tone(GLASS, 0.8))
    brush.rectangle(0.02, 0.74, 0.8, 0.88, tone(colour, 0.75))
    _wheels(brush, (0.22, 0.74), 0.1)


def tractor(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.16, 0.06, 0.54, 0.6, colour)
    brush.rectangle(0.23, 0.14, 0.47, 0.4, GLASS)
    brush.rectangle(0.5, 0.36, 0.98, 0.74, colour)
    brush.rectangle(0.5, 0.64, 0.98, 0.74, tone(colour, 0.75))
    brush.rectangle(0.78, 0.1, 0.84, 0.38, TYRE)
    brush.ellipse(0.02, 0.42, 0.5, 1, TYRE)
    brush.ellipse(0.15, 0.58, 0.37, 0.84, (226, 200, 90))
    brush.ellipse(0.68, 0.64, 0.96, 1, TYRE)
    brush.ellipse(0.76, 0.74, 0.88, 0.9, (226, 200, 90))


def caravan(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.86, 0.74, 1, 0.8, STEEL)
    brush.ellipse(0.0, 0.0, 0.5, 0.7, colour)
    brush.ellipse(0.4, 0.0, 0.9, 0.7, colour)
    brush.rectangle(0.0, 0.32, 0.9, 0.84, colour)
    brush.rectangle(0.24, 0.0, 0.66, 0.4, colour)
    brush.rectangle(0.0, 0.62, 0.9, 0.7, tone(colour, 0.6) if min(colour) < 200 else (150, 160, 170))
    brush.rectangle(0.1, 0.22, 0.38, 0.48, GLASS)
    brush.rectangle(0.56, 0.24, 0.74, 0.84, tone(colour, 0.7))
    _wheels(brush, (0.42,), 0.13)


def train(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.line([(0, 0.97), (1, 0.97)], (92, 84, 82), 0.03)
    brush.rectangle(0.0, 0.3, 0.44, 0.84, colour)
    for u in (0.05, 0.18, 0.31):
        brush.rectangle(u, 0.4, u + 0.08, 0.58, GLASS)
    brush.rectangle(0.44, 0.66, 0.52, 0.74, TYRE)
    brush.rectangle(0.5, 0.12, 0.7, 0.84, colour)
    brush.rectangle(0.54, 0.22, 0.66, 0.42, GLASS)
    brush.rectangle(0.7, 0.4, 0.97, 0.84, colour)
    brush.rectangle(0.84, 0.1, 0.92, 0.4, TYRE)
    brush.rectangle(0.5, 0.72, 0.97, 0.84, tone(colour, 0.7))
    brush.rectangle(0.0, 0.74, 0.44, 0.84, tone(colour, 0.7))
    _wheels(brush, (0.1, 0.32, 0.6, 0.76, 0.9), 0.07)


def kite(brush: Brush, colour: Colour, rng: Generator) -> None:
    sway = rng.uniform(-0.2, 0.2)
    brush.line([(0.5, 0.6), (0.5 + sway, 0.8), (0.5 - sway, 1)], (90, 80, 80), 0.05)
    brush.polygon([(0.5, 0), (1, 0.28), (0.5, 0.72), (0, 0.28)], colour)
    brush.polygon([(0.5, 0), (1, 0.28), (0.5, 0.72)], tone(colour, 0.8))


def balloon(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.line([(0.3, 0.6), (0.42, 0.86)], (90, 70, 50), 0.04)
    brush.line([(0.7, 0.6), (0.58, 0.86)], (90, 70, 50), 0.04)
    brush.ellipse(0.04, 0, 0.96, 0.68, colour)
    brush.polygon([(0.1, 0.48), (0.9, 0.48), (0.6, 0.76), (0.4, 0.76)], colour)
    brush.ellipse(0.36, 0.0, 0.64, 0.7, tone(colour, 0.8))
    brush.rectangle(0.39, 0.84, 0.61, 1, (134, 92, 50))


def _wheels(brush: Brush, places: Iterable[float], radius: float) -> None:
    high = radius * brush.width / brush.height
    for u in places:
        brush.ellipse(u - radius, 1 - 2 * high, u + radius, 1, TYRE)
        brush.ellipse(u - 0.45 * radius, 1 - 1.45 * high, u + 0.45 * radius, 1 - 0.55 * high, (186, 186, 190))


DRAWN = {function.__name__: function for function in (boat, ship, car, bus, tractor, caravan, train, kite, balloon)}
