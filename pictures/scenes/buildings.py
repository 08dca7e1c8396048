"""How built things are drawn: houses, towers, fences, furniture. One function a kind, as in `nature`.

Windows are parts with a mask of their own; they are lit when the brush's light is that of the night.
"""

from collections.abc import Iterable

from numpy.random import Generator

from .brush import Brush, Colour, Point, tone

STONE = (196, 190, 180)
WOOD = (150, 104, 62)


def house(brush: Brush, colour: Colour, rng: Generator) -> None:
    _wall(brush, 0.06, 0.42, 0.94, 1, colour)
    roof = (122, 66, 54) if colour != (216, 38, 44) else (84, 84, 96)
    brush.polygon([(0, 0.46), (0.26, 0.04), (0.74, 0.04), (1, 0.46)], roof)
    brush.rectangle(0.7, 0.0, 0.8, 0.2, tone(roof, 0.75))
    brush.rectangle(0.42, 0.66, 0.58, 1, (92, 62, 42))
    _windows(brush, ((0.16, 0.58), (0.68, 0.58)), 0.16, 0.2)


def barn(brush: Brush, colour: Colour, rng: Generator) -> None:
    roof = (92, 88, 92)
    brush.polygon([(0.5, 0), (0.84, 0.2), (0.97, 0.46), (0.97, 1), (0.03, 1), (0.03, 0.46), (0.16, 0.2)], colour)
    brush.line([(0.0, 0.48), (0.16, 0.2), (0.5, 0.02), (0.84, 0.2), (1, 0.48)], roof, 0.09)
    frame = (240, 236, 226) if min(colour) < 200 else (120, 90, 70)
    brush.rectangle(0.3, 0.52, 0.7, 1, tone(colour, 0.7))
    brush.line([(0.3, 0.52), (0.7, 1)], frame, 0.05)
    brush.line([(0.7, 0.52), (0.3, 1)], frame, 0.05)
    brush.line([(0.3, 1), (0.3, 0.52), (0.7, 0.52), (0.7, 1)], frame, 0.05)
    brush.rectangle(0.42, 0.24, 0.58, 0.38, frame)


def church(brush: Brush, colour: Colour, rng: Generator) -> None:
    _wall(brush, 0.36, 0.52, 1, 1, (226, 216, 198))
    brush.polygon([(0.34, 0.54), (0.44, 0.34), (0.94, 0.34), (1, 0.54)], (120, 74, 62))
    _wall(brush, 0.04, 0.38, 0.38, 1, (236, 228, 212))
    brush.polygon([(0, 0.4), (0.21, 0.1), (0.42, 0.4)], (96, 72, 76))
    brush.line([(0.21, 0), (0.21, 0.14)], (60, 52, 50), 0.05)
    brush.line([(0.12, 0.05), (0.3, 0.05)], (60, 52, 50), 0.05)
    brush.rectangle(0.14, 0.8, 0.28, 1, (92, 62, 42))
    _windows(brush, ((0.15, 0.5), (0.5, 0.64), (0.66, 0.64), (0.82, 0.64)), 0.1, 0.18)


def lighthouse(brush: Brush, colour: Colour, rng: Generator) -> None:
    edge = ((0.26, 0.22), (0.74, 0.22), (0.9, 1), (0.1, 1))
    brush.polygon(edge, (244, 242, 236))
    for low, high in ((0.32, 0.48), (0.64, 0.82)):
        lean = [0.26 - 0.16 * (v - 0.22) / 0.78 for v in (low, high)]
        brush.polygon([(lean[0], low), (1 - lean[0], low), (1 - lean[1], high), (lean[1], high)], (214, 44, 44))
    brush.rectangle(0.2, 0.19, 0.8, 0.23, (70, 70, 80))
    brush.ellipse(0.32, 0.08, 0.68, 0.22, (255, 236, 130), glow=True)
    brush.polygon([(0.26, 0.1), (0.5, 0), (0.74, 0.1)], (180, 40, 44))


def skyscraper(brush: Brush, colour: Colour, rng: Generator) -> None:
    grey = tone((122, 136, 158), rng.uniform(0.8, 1.1))
    brush.line([(0.5, 0), (0.5, 0.1)], (90, 90, 96), 0.06)
    brush.rectangle(0.2, 0.06, 0.8, 1, grey)
    brush.rectangle(0.05, 0.28, 0.95, 1, tone(grey, 0.9))
    rows = [(u, v) for v in (0.34, 0.46, 0.58, 0.7, 0.82) for u in (0.14, 0.34, 0.54, 0.74)]
    _windows(brush, [place for place in rows if rng.random() < 0.85] + [(0.34, 0.14), (0.54, 0.14)], 0.13, 0.07)


def windmill(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0.34, 0.36), (0.66, 0.36), (0.78, 1), (0.22, 1)], (232, 224, 210))
    brush.polygon([(0.32, 0.38), (0.5, 0.2), (0.68, 0.38)], (126, 78, 58))
    brush.rectangle(0.42, 0.8, 0.58, 1, (92, 62, 42))
    turn = rng.uniform(-0.3, 0.3)
    for du, dv in ((1, turn), (-turn, 0.8), (-1, -turn), (turn, -0.8)):
        tip = (0.5 + 0.46 * du, 0.36 + 0.42 * dv)
        brush.line([(0.5, 0.36), tip], (98, 70, 50), 0.09)
    _windows(brush, ((0.43, 0.56),), 0.14, 0.12)


def well(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.14, 0.3, 0.22, 0.7, WOOD)
    brush.rectangle(0.78, 0.3, 0.86, 0.7, WOOD)
    brush.polygon([(0, 0.34), (0.5, 0), (1, 0.34)], (140, 70, 52))
    brush.rectangle(0.08, 0.64, 0.92, 1, (168, 164, 158))
    for v, shift in ((0.7, 0.12), (0.82, 0.24), (0.92, 0.12)):
        for u in (0.0, 0.28, 0.52):
            brush.rectangle(u + shift, v, u + shift + 0.12, v + 0.05, (128, 124, 120))
    brush.rectangle(0.44, 0.36, 0.56, 0.6, (110, 84, 60))


def pyramid(brush: Brush, colour: Colour, rng: Generator) -> None:
    ridge = rng.uniform(0.55, 0.7)
    brush.polygon([(0.5, 0), (ridge, 1), (0, 1)], (226, 186, 104))
    brush.polygon([(0.5, 0), (1, 1), (ridge, 1)], (176, 136, 72))
    for v in (0.35, 0.55, 0.75):
        brush.line([(0.5 - 0.5 * v, v), (0.5 + (ridge - 0.5) * v, v)], (204, 164, 88), 0.015)


def tunnel(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0, 1), (0.08, 0.3), (0.3, 0.0), (0.7, 0.0), (0.92, 0.3), (1, 1)], (128, 120, 112))
    brush.pie(0.14, 0.16, 0.86, 1.7, 180, 360, (206, 198, 184))
    brush.pie(0.22, 0.28, 0.78, 1.7, 180, 360, (28, 26, 32))
    brush.line([(0.4, 1), (0.47, 0.72)], (130, 120, 116), 0.03)
    brush.line([(0.6, 1), (0.53, 0.72)], (130, 120, 116), 0.03)


def crane(brush: Brush, colour: Colour, rng: Generator) -> None:
    steel = (226, 176, 40)
    brush.line([(0.3, 1), (0.3, 0.1)], steel, 0.1)
    brush.line([(0.52, 1), (0.52, 0.1)], steel, 0.1)
    for v in (0.9, 0.66, 0.42):
        brush.line([(0.3, v), (0.52, v - 0.22)], (176, 132, 30), 0.06)
    brush.rectangle(0.02, 0.08, 1, 0.17, steel)
    brush.rectangle(0.02, 0.14, 0.2, 0.3, (96, 96, 102))
    brush.line([(0.86, 0.16), (0.86, 0.5)], (60, 60, 64), 0.04)
    brush.rectangle(0.74, 0.48, 0.98, 0.64, (150, 76, 50))


def billboard(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.2, 0.5, 0.28, 1, (92, 92, 98))
    brush.rectangle(0.72, 0.5, 0.8, 1, (92, 92, 98))
    brush.rectangle(0.0, 0.0, 1, 0.62, (70, 74, 84))
    brush.rectangle(0.05, 0.07, 0.95, 0.55, (250, 250, 246))
    brush.rectangle(0.12, 0.15, 0.88, 0.25, (230, 60, 120))
    brush.rectangle(0.12, 0.33, 0.62, 0.4, (60, 150, 200))
    brush.rectangle(0.12, 0.45, 0.5, 0.5, (60, 150, 200))


def tent(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.polygon([(0.5, 0), (1, 1), (0, 1)], colour)
    brush.polygon([(0.5, 0), (1, 1), (0.68, 1)], tone(colour, 0.78))
    brush.polygon([(0.44, 0.3), (0.62, 1), (0.3, 1)], (58, 44, 40) if max(colour) > 80 else (190, 170, 140))


def umbrella(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.line([(0.5, 0.3), (0.5, 1)], (196, 170, 130), 0.07)
    brush.pie(0, 0, 1, 0.9, 180, 360, colour)
    brush.pie(0.3, 0, 0.7, 0.9, 180, 360, tone(colour, 0.76))


def sandcastle(brush: Brush, colour: Colour, rng: Generator) -> None:
    sand = (206, 152, 84)
    brush.rectangle(0.1, 0.56, 0.9, 1, sand)
    for u in (0.0, 0.38, 0.74):
        high = 0.22 if u == 0.38 else 0.4
        brush.rectangle(u, high, u + 0.26, 1, tone(sand, 0.93))
        for notch in (0.0, 0.18):
            brush.rectangle(u + notch, high - 0.1, u + notch + 0.08, high, tone(sand, 0.93))
    brush.pie(0.4, 0.68, 0.6, 1.3, 180, 360, (112, 74, 40))
    brush.line([(0.51, 0.14), (0.51, 0)], (80, 60, 50), 0.04)


def surfboard(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.ellipse(0.1, 0, 0.9, 1.06, colour)
    brush.rectangle(0.4, 0.1, 0.6, 0.94, (250, 250, 246) if min(colour) < 200 else (60, 130, 190))


def campfire(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.line([(0.06, 0.98), (0.94, 0.76)], (104, 68, 42), 0.14)
    brush.line([(0.06, 0.76), (0.94, 0.98)], (84, 54, 36), 0.14)
    sway = rng.uniform(-0.1, 0.1)
    brush.polygon([(0.5 + sway, 0), (0.78, 0.5), (0.7, 0.84), (0.3, 0.84), (0.2, 0.46)], (240, 104, 30), glow=True)
    brush.polygon([(0.5 - sway, 0.3), (0.66, 0.62), (0.6, 0.84), (0.4, 0.84), (0.34, 0.6)], (255, 214, 80), glow=True)


def bench(brush: Brush, colour: Colour, rng: Generator) -> None:
    for u in (0.1, 0.82):
        brush.rectangle(u, 0.2, u + 0.08, 1, (62, 60, 64))
    for v in (0.0, 0.22, 0.52):
        brush.rectangle(0, v, 1, v + 0.17, colour)


def slide(brush: Brush, colour: Colour, rng: Generator) -> None:
    for u in (0.06, 0.26):
        brush.rectangle(u, 0.06, u + 0.05, 1, (96, 100, 110))
    for v in (0.34, 0.52, 0.7, 0.86):
        brush.rectangle(0.06, v, 0.3, v + 0.04, (96, 100, 110))
    brush.polygon(
        [(0.06, 0.12), (0.36, 0.12), (0.84, 0.82), (1, 0.86), (1, 1), (0.74, 1), (0.3, 0.36), (0.06, 0.36)], colour
    )


def fountain(brush: Brush, colour: Colour, rng: Generator) -> None:
    for u, v in ((0.3, 0.3), (0.4, 0.08), (0.5, 0), (0.6, 0.08), (0.7, 0.3)):
        brush.line([(0.5, 0.6), (u, v), (u + 1.1 * (u - 0.5), 0.66)], (156, 212, 246), 0.05)
    brush.rectangle(0.44, 0.42, 0.56, 0.8, STONE)
    brush.polygon([(0, 0.7), (1, 0.7), (0.88, 1), (0.12, 1)], STONE)
    brush.ellipse(0.02, 0.6, 0.98, 0.8, (86, 160, 214))


def haystack(brush: Brush, colour: Colour, rng: Generator) -> None:
    hay = (224, 184, 78)
    brush.pie(0, 0, 1, 2, 180, 360, hay)
    for v, half in ((0.32, 0.34), (0.56, 0.42), (0.8, 0.47)):
        brush.line([(0.5 - half, v), (0.5, v - 0.1), (0.5 + half, v)], (184, 142, 52), 0.05)


def fence(brush: Brush, colour: Colour, rng: Generator) -> None:
    wood = tone((190, 150, 104), rng.uniform(0.8, 1.1))
    for v in (0.3, 0.64):
        brush.rectangle(0, v, 1, v + 0.14, tone(wood, 0.82))
    for u in (0.02, 0.26, 0.5, 0.74, 0.92):
        brush.polygon([(u, 1), (u, 0.14), (u + 0.03, 0), (u + 0.06, 0.14), (u + 0.06, 1)], wood)


def lamp(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.4, 0.2, 0.6, 1, (72, 74, 82))
    brush.rectangle(0.2, 0.93, 0.8, 1, (72, 74, 82))
    brush.polygon([(0.14, 0.06), (0.86, 0.06), (0.7, 0.26), (0.3, 0.26)], (72, 74, 82))
    brush.ellipse(0.2, 0.06, 0.8, 0.25, (255, 238, 150), glow=True)


def signal(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.42, 0.3, 0.58, 1, (236, 236, 236))
    for v in (0.46, 0.74):
        brush.rectangle(0.42, v, 0.58, v + 0.12, (206, 40, 44))
    brush.rectangle(0.14, 0.0, 0.86, 0.42, (36, 36, 42))
    lit = rng.random() < 0.5
    brush.ellipse(0.3, 0.04, 0.7, 0.2, (250, 50, 46) if lit else (90, 30, 32), glow=True)
    brush.ellipse(0.3, 0.22, 0.7, 0.38, (40, 90, 50) if lit else (60, 230, 90), glow=True)


def ball(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.ellipse(0, 0, 1, 1, colour)
    brush.ellipse(0.36, 0.02, 0.64, 0.98, tone(colour, 0.75))
    brush.ellipse(0.2, 0.14, 0.38, 0.34, tone(colour, 1.6))


def flag(brush: Brush, colour: Colour, rng: Generator) -> None:
    brush.rectangle(0.04, 0, 0.13, 1, (118, 112, 108))
    wave = rng.uniform(-0.05, 0.05)
    brush.polygon([(0.13, 0.03), (0.55, 0.03 + wave), (1, 0.05), (1, 0.42), (0.55, 0.42 + wave), (0.13, 0.4)], colour)
    brush.polygon([(0.55, 0.03 + wave), (1, 0.05), (1, 0.42), (0.55, 0.42 + wave)], tone(colour, 0.84))


def _wall(brush: Brush, u0: float, v0: float, u1: float, v1: float, colour: Colour) -> None:
    brush.rectangle(u0, v0, u1, v1, colour)
    brush.rectangle(u0 + 0.8 * (u1 - u0), v0, u1, v1, tone(colour, 0.85))


def _windows(brush: Brush, places: Iterable[Point], width: float, height: float) -> None:
    lit = sum(brush.light) < 2.5
    for u, v in places:
        brush.window(u, v, u + width, v + height, (255, 222, 110) if lit else (124, 176, 214), glow=lit)


DRAWN = {
    function.__name__: function
    for function in (
        *(house, barn, church, lighthouse, skyscraper, windmill, well, pyramid, tunnel, crane, billboard),
        *(tent, umbrella, sandcastle, surfboard, campfire, bench, slide, fountain, haystack),
        *(fence, lamp, signal, ball, flag),
    )
}
