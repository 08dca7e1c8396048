"""Paints a picture from its plan, and knows exactly which pixels of each thing can be seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from . import buildings, nature, vehicles
from . import vocabulary as law
from .brush import Brush
from .captions import write_captions
from .places import paint_place, paint_weather
from .plan import Item, Plan, draw_plan

DRAWN = {**nature.DRAWN, **vehicles.DRAWN, **buildings.DRAWN}
ATTEMPTS = 100
OWN = (0, 0, 0)  # the paint of kinds that have colours of their own: not used
Mask = np.ndarray[Any, np.dtype[np.bool_]]  # (size, size)


@dataclass(frozen=True)
class Thing:
    """A thing that can be seen. `visible` is the share of its own pixels inside the frame that nothing hides."""

    name: str
    colour: str | None
    mask: Mask
    box: tuple[int, int, int, int]
    visible: float


@dataclass(frozen=True)
class Scene:
    """One picture and all that is true of it. Masks: bool (size, size). Boxes: left, top, right, bottom, half open."""

    image: Image.Image
    label: str
    things: tuple[Thing, ...]
    attributes: dict[str, str]
    captions: tuple[str, ...]


def paint(split: str, index: int, *, seed: int = 0, size: int = 64) -> Scene:
    """Paints picture `index` of a split: the same arguments give the same bytes, in any order and any process.

    >>> paint("train", 3).captions == paint("train", 3).captions
    True
    """
    law.is_held_out(split)
    if index < 0 or size < 16:
        raise ValueError(f"Expected an index of 0 or more and a size of 16 or more but got {index} and {size}.")
    entropy = np.random.SeedSequence([seed, law.SPLITS.index(split), index])
    rng = np.random.Generator(np.random.Philox(entropy))
    for _ in range(ATTEMPTS):
        plan = draw_plan(split, rng)
        image, things = paint_plan(plan, size, rng)
        if _is_telling(plan.label, split, things, size):
            break
    else:
        raise AssertionError(f"no picture of {plan.label} shows what tells it")
    place = plan.place
    attributes = {
        "weather": place.weather,
        "time": place.time,
        "ground": place.ground,
        "backdrop": place.backdrop,
        "water": "water" if place.water else "none",
        "layout": plan.layout,
    }
    return Scene(image, plan.label, things, attributes, write_captions(plan.label, things, attributes, rng))


def paint_plan(plan: Plan, size: int, rng: np.random.Generator) -> tuple[Image.Image, tuple[Thing, ...]]:
    """The picture of a plan and the things that can be seen in it.

    Paints at twice the size and reduces. Every pixel of `owner` holds the number of the last thing painted there."""
    side = 2 * size
    picture = paint_place(plan.place, side, rng)
    owner = Image.new("L", (side, side))
    known: list[tuple[str, str | None, list[int], int]] = []  # kind, colour, the numbers that belong to it, its pixels
    number = 0
    for item in plan.items:
        brush = _brush(picture, plan, item, side)
        DRAWN[item.kind](brush, law.COLOURS[item.colour] if item.colour else OWN, rng)
        number += 1
        owner.paste(number, mask=brush.stamp)
        parts = [number]
        if brush.windows is not None:
            number += 1
            owner.paste(number, mask=brush.windows)
            parts.append(number)
            known.append(("window", None, [number], _count(brush.windows)))
        known.append((item.kind, item.colour, parts, _count(brush.stamp)))
    paint_weather(picture, plan.place, rng)
    owners = np.asarray(owner)
    counts = np.bincount(owners.ravel(), minlength=number + 1)
    small = owners[::2, ::2]
    things = []
    for kind, colour, parts, own in known:
        mask = small == parts[0] if len(parts) == 1 else (small == parts[0]) | (small == parts[1])
        if own and mask.any():
            things.append(Thing(kind, colour, mask, _box(mask), float(counts[parts].sum() / own)))
    return picture.reduce(2), tuple(things)


def _brush(picture: Image.Image, plan: Plan, item: Item, side: int) -> Brush:
    """A brush at the item's place, its shadow already on the ground."""
    left, top = (item.x - item.width / 2) * side, (item.foot - item.height) * side
    right, bottom = left + item.width * side, item.foot * side
    if item.kind not in law.SKY:
        deep = 0.05 * item.width * side
        canvas = ImageDraw.Draw(picture, "RGBA")
        canvas.ellipse([left, bottom - deep, right, bottom + deep], fill=(20, 24, 40, 84))
    haze = plan.place.haze(item.depth)
    return Brush(picture, (left, top, right, bottom), mirrored=item.mirrored, light=plan.place.spotlight, haze=haze)


def _is_telling(label: str, split: str, things: tuple[Thing, ...], size: int) -> bool:
    """Whether the label can be told from what is seen, and whether a held-out picture shows its held-out companions."""
    enough = law.TELLING_PIXELS * (size / 64) ** 2
    seen = {thing.name for thing in things if thing.mask.sum() >= enough and thing.visible >= law.TELLING_VISIBLE}
    if not seen & set(law.TELLING[label]):
        return False
    names = {thing.name for thing in things}
    return not law.is_held_out(split) or any(t in names and c in names for t, c in law.HELD_OUT_COMPANIONS)


def _count(stamp: Image.Image) -> int:
    return stamp.histogram()[255]


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
