"""How natural things are drawn: plants, stones, animals and what hangs in the sky. One function a kind.

Every function takes (brush, colour, rng): `colour` is the paint of coloured kinds; the others have their own.
"""

from math import cos, pi, sin

from numpy.random import Generator

from .brush import Brush, Colour, tone

TRUNK = (112, 74, 44)
LEAF = (58, 140, 58)


def palm(brush: Brush, colour: Colour, rng: Generator) -> None:
    lean = rng.uniform(-0.12, 0.12)
    top = 0.5 + lean
    brush.polygon([(0.42, 1), (0.58, 1), (top + 0.05, 0.3), (top - 0.05, 0.3)], (150, 108, 66))
    for angle in (-2.9, -2.3, -1.57, -0.85, -0.2, 0.35, 2.8):
        tip = (top + 0.46 * cos(angle), 0.3 + 0.28 * sin(angle) + 0.1)
        knee = (top + 0.28 * cos(angle), 0.24 + 0.25 * sin(angle))
        under = (top + 0.2 * cos(angle), 0.36 + 0.18 * sin(angle))
        brush.polygon([(top, 0.3), knee, tip, under], tone((36, 150, 80), 0.8 + 0.2 * abs(sin(3 * angle))))
    brush.ellipse(top - 0.07, 0.28, top + 0.07, 0.38, (116, 72, 30))


def pine(brush: Brush, colour: Colour, rng: Generator) -> None:
    green = (26, 98 + int(rng.integers(16)), 62)
    brush.rectangle(0.43, 0.85, 0.57, 1, TRUNK)
    for top, bottom, half in ((0.45, 0.88, 0.46), (0.22, 0.62, 0.37), (0.0, 0.36, 0.27)):
        brush.polygon([(0.5, top), (0.5 + half, bottom), (0.5 - half, bottom)], green)
        brush.polygon([(0.5, top), (0.5 + half, bottom), (0.5 + 0.2 * half, bottom)], tone(green, 0.8))


def tree(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0.4, 1), (0.6, 1), (0.56, 0.5), (0.44, 0.5)], TRUNK)
    green = tone(LEAF, rng.uniform(0.85, 1.1))
    for u, v, r in ((0.3, 0.42, 0.28), (0.7, 0.42, 0.28), (0.5, 0.26, 0.3)):
        brush.ellipse(u - r, v - 0.8 * r, u + r, v + 0.8 * r, tone(green, 0.86))
    brush.ellipse(0.24, 0.06, 0.64, 0.38, tone(green, 1.12))


def flower(brush: Brush, colour: Colour, rng: Generator) -> None:
    for u, v in ((0.2, 0.42), (0.52, 0.24), (0.82, 0.46)):
        brush.line([(u, v), (0.3 + 0.4 * u, 1)], (52, 140, 56), 0.08)
        for angle in range(5):
            x, y = u + 0.13 * cos(angle * 2 * pi / 5), v + 0.13 * sin(angle * 2 * pi / 5)
            brush.ellipse(x - 0.12, y - 0.12, x + 0.12, y + 0.12, colour)
        brush.ellipse(u - 0.07, v - 0.07, u + 0.07, v + 0.07, (120, 84, 30))


def cactus(brush: Brush, colour: Colour, rng: Generator) -> None:
    green, rib = (64, 146, 84), (46, 116, 70)
    brush.rectangle(0.38, 0.1, 0.62, 1, green)
    brush.ellipse(0.38, 0, 0.62, 0.24, green)
    for side, height in ((1, rng.uniform(0.25, 0.4)), (-1, rng.uniform(0.25, 0.4))):
        far = 0.5 + side * 0.4
        brush.line([(0.5, height + 0.25), (far, height + 0.25), (far, height)], green, 0.18)
        brush.ellipse(far - 0.09, height - 0.06, far + 0.09, height + 0.08, green)
    brush.line([(0.5, 0.1), (0.5, 1)], rib, 0.05)


def mushroom(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0.38, 0.45), (0.62, 0.45), (0.68, 1), (0.32, 1)], (236, 224, 200))
    brush.pie(0, 0, 1, 1.1, 180, 360, colour)
    spot = (250, 246, 236) if min(colour) < 200 else (196, 70, 60)
    for u, v, r in ((0.3, 0.36, 0.07), (0.55, 0.2, 0.08), (0.76, 0.4, 0.06)):
        brush.ellipse(u - r, v - r, u + r, v + r, spot)


def stump(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0.14, 0.25), (0.86, 0.25), (1, 1), (0.7, 0.9), (0.5, 1), (0.3, 0.9), (0, 1)], (118, 80, 50))
    brush.ellipse(0.12, 0, 0.88, 0.5, (214, 176, 122))
    brush.ellipse(0.3, 0.12, 0.7, 0.38, (176, 132, 84))
    brush.ellipse(0.42, 0.19, 0.58, 0.31, (214, 176, 122))


def owl(brush: Brush, colour: Colour, rng: Generator) -> None:
    brown = (134, 96, 62)
    brush.polygon([(0.14, 0), (0.36, 0.14), (0.2, 0.3)], brown)
    brush.polygon([(0.86, 0), (0.64, 0.14), (0.8, 0.3)], brown)
    brush.ellipse(0.08, 0.06, 0.92, 1, brown)
    brush.ellipse(0.26, 0.45, 0.74, 0.98, (214, 184, 140))
    for u in (0.32, 0.68):
        brush.ellipse(u - 0.18, 0.16, u + 0.18, 0.46, (250, 244, 220))
        brush.ellipse(u - 0.08, 0.24, u + 0.08, 0.39, (30, 26, 26))
    brush.polygon([(0.43, 0.42), (0.57, 0.42), (0.5, 0.56)], (240, 160, 40))


def camel(brush: Brush, colour: Colour, rng: Generator) -> None:
    coat = tone((196, 140, 82), rng.uniform(0.9, 1.05))
    for u in (0.2, 0.32, 0.56, 0.68):
        brush.rectangle(u, 0.6, u + 0.06, 1, tone(coat, 0.85))
    brush.ellipse(0.12, 0.38, 0.78, 0.74, coat)
    brush.polygon([(0.2, 0.48), (0.31, 0.14), (0.43, 0.46)], coat)
    brush.polygon([(0.43, 0.48), (0.56, 0.14), (0.68, 0.48)], coat)
    brush.polygon([(0.66, 0.56), (0.78, 0.5), (0.9, 0.14), (0.8, 0.1)], coat)
    brush.ellipse(0.78, 0.04, 1, 0.2, coat)


def rock(brush: Brush, colour: Colour, rng: Generator) -> None:
    grey = tone((140, 138, 136), rng.uniform(0.8, 1.1))
    peak = rng.uniform(0.3, 0.6)
    brush.polygon([(0, 1), (0.08, 0.5), (peak, 0), (0.85, 0.25), (1, 1)], grey)
    brush.polygon([(peak, 0), (0.85, 0.25), (1, 1), (0.62, 1)], tone(grey, 0.78))


def sun(brush: Brush, colour: Colour, rng: Generator) -> None:
    for step in range(12):
        angle = step * pi / 6
        brush.line([(0.5, 0.5), (0.5 + 0.5 * cos(angle), 0.5 + 0.5 * sin(angle))], (255, 226, 120), 0.06)
    brush.ellipse(0.14, 0.14, 0.86, 0.86, (255, 214, 70), glow=True)
    brush.ellipse(0.22, 0.22, 0.78, 0.78, (255, 232, 120), glow=True)


def moon(brush: Brush, colour: Colour, rng: Generator) -> None:
    pale = (246, 242, 214)
    full = rng.random() < 0.4
    if full:
        brush.ellipse(0, 0, 1, 1, pale, glow=True)
        brush.ellipse(0.25, 0.3, 0.45, 0.5, (222, 216, 190), glow=True)
        brush.ellipse(0.55, 0.55, 0.8, 0.75, (222, 216, 190), glow=True)
        return
    outer = [(0.5 + 0.5 * cos(a * pi / 12), 0.5 + 0.5 * sin(a * pi / 12)) for a in range(-8, 9)]
    inner = [(0.32 + 0.42 * cos(a * pi / 12), 0.5 + 0.42 * sin(a * pi / 12)) for a in range(7, -8, -1)]
    brush.polygon(outer + inner, pale, glow=True)


def cloud(brush: Brush, colour: Colour, rng: Generator) -> None:
    white = tone((232, 236, 242), rng.uniform(0.86, 1.0))
    for u, v, r in ((0.2, 0.64, 0.2), (0.44, 0.42, 0.26), (0.68, 0.52, 0.24), (0.84, 0.7, 0.16)):
        brush.ellipse(u - r, v - 1.5 * r, u + r, min(1, v + 1.5 * r), white)
    brush.ellipse(0.26, 0.16, 0.58, 0.66, tone(white, 1.5))


def bird(brush: Brush, colour: Colour, rng: Generator) -> None:
    dip = rng.uniform(0.5, 0.8)
    ink = (58, 56, 70)
    brush.polygon([(0, 0.2), (0.25, 0.12), (0.5, dip), (0.24, 0.42)], ink)
    brush.polygon([(1, 0.2), (0.75, 0.12), (0.5, dip), (0.76, 0.42)], ink)
    brush.ellipse(0.38, dip - 0.18, 0.62, dip + 0.24, ink)


DRAWN = {
    function.__name__: function
    for function in (
        *(palm, pine, tree, flower, cactus, mushroom, stump, owl, camel, rock),
        *(sun, moon, cloud, bird),
    )
}
