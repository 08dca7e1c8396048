"""What stands where: a plan is drawn from the law in `vocabulary` before anything is painted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import vocabulary as law
from .places import Place

T = TypeVar("T")

SIZES = {  # width and height of a thing in the foreground, as shares of the picture
    "umbrella": (0.26, 0.26),
    "sandcastle": (0.22, 0.2),
    "surfboard": (0.11, 0.34),
    "ship": (0.42, 0.24),
    "lighthouse": (0.14, 0.42),
    "crane": (0.3, 0.42),
    "cactus": (0.18, 0.3),
    "pyramid": (0.42, 0.28),
    "camel": (0.32, 0.26),
    "barn": (0.32, 0.3),
    "tractor": (0.3, 0.24),
    "haystack": (0.24, 0.17),
    "mushroom": (0.19, 0.2),
    "stump": (0.22, 0.15),
    "owl": (0.16, 0.21),
    "church": (0.32, 0.4),
    "well": (0.2, 0.25),
    "windmill": (0.32, 0.42),
    "skyscraper": (0.2, 0.56),
    "bus": (0.38, 0.22),
    "billboard": (0.28, 0.28),
    "tent": (0.3, 0.23),
    "campfire": (0.17, 0.19),
    "caravan": (0.32, 0.22),
    "bench": (0.27, 0.15),
    "fountain": (0.27, 0.26),
    "slide": (0.3, 0.27),
    "train": (0.48, 0.22),
    "signal": (0.1, 0.36),
    "tunnel": (0.36, 0.24),
    "palm": (0.32, 0.44),
    "boat": (0.27, 0.27),
    "ball": (0.13, 0.13),
    "rock": (0.2, 0.13),
    "car": (0.32, 0.18),
    "flag": (0.24, 0.36),
    "house": (0.3, 0.3),
    "lamp": (0.09, 0.36),
    "fence": (0.38, 0.14),
    "tree": (0.28, 0.36),
    "flower": (0.2, 0.2),
    "pine": (0.24, 0.42),
    "sun": (0.2, 0.2),
    "moon": (0.15, 0.15),
    "cloud": (0.32, 0.13),
    "bird": (0.14, 0.08),
    "kite": (0.18, 0.28),
    "balloon": (0.2, 0.27),
}


TELLING_KINDS = frozenset(kind for kinds in law.TELLING.values() for kind in kinds)


@dataclass(frozen=True)
class Item:
    """One thing to paint: its kind, colour, the middle of its foot, its size, and how near it is (0 far, 1 near)."""

    kind: str
    colour: str | None
    x: float
    foot: float
    width: float
    height: float
    depth: float
    mirrored: bool


@dataclass(frozen=True)
class Plan:
    """A whole picture to paint; items stand in the order in which they are painted, far things first."""

    label: str
    place: Place
    layout: str
    items: tuple[Item, ...]


def draw_plan(split: str, rng: np.random.Generator) -> Plan:
    """A plan from the law of a split. Held-out splits have their own layouts and always a held-out companion."""
    label = _pick(rng, law.SCENES)
    layout = _pick(rng, law.HELD_OUT_LAYOUTS if law.is_held_out(split) else law.LAYOUTS)
    kinds = _kinds(label, split, rng)
    place = _place(label, rng, afloat=any(kind in law.AFLOAT for kind in kinds))
    slots = _slots(layout, len(kinds), rng)
    items = [_stand(kind, split, slot, place, rng) for kind, slot in zip(kinds, slots, strict=True)]
    items.sort(key=lambda item: item.foot)
    return Plan(label, place, layout, (*_sky(split, place, rng), *items))


@dataclass(frozen=True)
class Wanted:
    """What a picture must show; None and () leave it to the law. Things are kinds with a colour, or None for any."""

    label: str | None = None
    things: tuple[tuple[str, str | None], ...] = ()
    weather: str | None = None
    time: str | None = None
    ground: str | None = None
    backdrop: str | None = None
    water: bool = False


def draw_wanted_plan(wanted: Wanted, rng: np.random.Generator) -> Plan:
    """A plan by the law of "val", but with what is `wanted`, larger than the companions that fill up."""
    kinds = {kind for kind, _ in wanted.things}
    at_home = [scene for scene in law.SCENES if kinds & {*law.TELLING[scene], *law.COMPANIONS[scene]}]
    label = wanted.label or _pick(rng, at_home or law.SCENES)
    more = [_pick(rng, law.TELLING[label])] if wanted.label else []
    more += [_pick(rng, law.COMPANIONS[label]) for _ in range(int(rng.integers(0, 3)))]
    place = _place(label, rng, afloat=wanted.water or not kinds.isdisjoint(law.AFLOAT))
    asked = {name: getattr(wanted, name) for name in ("weather", "time", "ground", "backdrop")}
    asked["ground"] = asked["ground"] or ("snow" if wanted.weather == "snowy" else None)
    place = replace(place, **{name: value for name, value in asked.items() if value})
    standing = [thing for thing in wanted.things if thing[0] not in law.SKY]
    layout = _pick(rng, law.LAYOUTS)
    slots = _slots(layout, len(standing) + len(more), rng) if standing or more else np.empty((0, 2))
    items = [_stand(kind, "val", slot, place, rng) for kind, slot in zip(more, slots[len(standing) :], strict=True)]
    for (kind, colour), slot in zip(standing, slots, strict=False):
        item = _stand(kind, "val", slot, place, rng)
        larger = replace(item, width=1.3 * item.width, height=1.3 * item.height)
        items.append(replace(larger, colour=colour or item.colour))
    aloft = [(_aloft(kind, "val", place, rng), colour) for kind, colour in wanted.things if kind in law.SKY]
    above = [replace(item, colour=colour or item.colour) for item, colour in aloft]
    items.sort(key=lambda item: item.foot)
    return Plan(label, place, layout, (*_sky("val", place, rng), *above, *items))


def _kinds(label: str, split: str, rng: np.random.Generator) -> list[str]:
    telling = [law.TELLING[label][n] for n in rng.permutation(3)[: _pick(rng, (1, 2, 3), (0.15, 0.5, 0.35))]]
    companions: Sequence[str] = law.COMPANIONS[label]
    if law.is_held_out(split):
        chosen = [_pick(rng, [c for c in companions if (telling[0], c) in law.HELD_OUT_COMPANIONS])]
    else:
        banned = {c for t in telling for c in companions if (t, c) in law.HELD_OUT_COMPANIONS}
        companions = [c for c in companions if c not in banned]
        chosen = []
    chosen += [_pick(rng, companions) for _ in range(int(rng.integers(1, 5)) - len(chosen))]
    kinds = telling + chosen
    return [kinds[n] for n in rng.permutation(len(kinds))]


def _place(label: str, rng: np.random.Generator, *, afloat: bool) -> Place:
    time = _pick(rng, law.TIMES, (0.56, 0.2, 0.24))
    weights = (0.4, 0.24, 0.12, 0.1 if label not in law.SNOWLESS else 0.0, 0.1)
    weather = _pick(rng, law.WEATHERS, np.array(weights) / sum(weights))
    ground = "snow" if weather == "snowy" else _usual(rng, law.GROUNDS[label])
    water = afloat or rng.random() < law.WATERSIDE.get(label, 0.0)
    horizon = rng.uniform(0.34, 0.5)
    shore = horizon + rng.uniform(0.1, 0.17) if water else horizon
    return Place(ground, _usual(rng, law.BACKDROPS[label]), water, weather, time, horizon, shore)


def _slots(layout: str, count: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Places for things: x and depth, both from 0 to 1, an array (count, 2)."""
    steps = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
    noise = rng.normal(size=count)
    if layout == "scattered":
        x, depth = steps, rng.random(count)
    elif layout == "row":
        x, depth = steps, rng.random() + 0.06 * noise
    elif layout == "sides":
        x = np.where(np.arange(count) % 2, 0.2, 0.8) + 0.1 * noise
        depth = rng.permutation(steps)
    elif layout == "cluster":
        x, depth = rng.uniform(0.3, 0.7) + 0.2 * noise, rng.permutation(steps)
    elif layout == "diagonal":
        x = steps if rng.random() < 0.5 else 1 - steps
        depth = steps + 0.05 * noise
    else:  # ring
        angle = 2 * np.pi * (steps + rng.random())
        x, depth = 0.5 + 0.38 * np.cos(angle), 0.5 + 0.5 * np.sin(angle)
    return np.stack([np.clip(x, 0.06, 0.94), np.clip(depth, 0, 1)], axis=1)


def _stand(kind: str, split: str, slot: np.ndarray[Any, Any], place: Place, rng: np.random.Generator) -> Item:
    x, depth = (float(value) for value in slot)
    if kind in law.AFLOAT:
        depth *= 0.3
        foot = place.horizon + (place.shore - place.horizon) * rng.uniform(0.45, 0.95)
    else:
        foot = place.shore + 0.04 + (0.94 - place.shore) * depth**1.2
    scale = (0.66 + 0.5 * depth) * rng.uniform(0.72, 1.15)
    if kind in TELLING_KINDS:
        scale *= 1.3
    return _item(kind, split, (x, foot), scale, depth, rng)


def _sky(split: str, place: Place, rng: np.random.Generator) -> list[Item]:
    dull = place.weather != "clear"
    counts = {
        "sun": place.time != "night" and rng.random() < (0.1 if dull else 0.75),
        "moon": place.time == "night" and rng.random() < (0.15 if dull else 0.8),
        "cloud": rng.integers(2, 4) if place.weather in ("cloudy", "rainy") else rng.random() < 0.35,
        "bird": rng.integers(1, 4) if rng.random() < 0.2 else 0,
        "kite": rng.random() < 0.13,
        "balloon": rng.random() < 0.13,
    }
    return [_aloft(kind, split, place, rng) for kind, count in counts.items() for _ in range(int(count))]


def _aloft(kind: str, split: str, place: Place, rng: np.random.Generator) -> Item:
    height = rng.uniform(0.55, 0.95) * place.horizon
    scale = rng.uniform(0.8, 1.2)
    return _item(kind, split, (rng.uniform(0.08, 0.92), height), scale, 0.6, rng)


def _item(kind: str, split: str, at: tuple[float, float], scale: float, depth: float, rng: np.random.Generator) -> Item:
    colour = _pick(rng, law.colours_of(kind, split)) if kind in law.COLOURED else None
    width, height = (side * scale * rng.uniform(0.9, 1.1) for side in SIZES[kind])
    return Item(kind, colour, *at, width, height, depth, bool(rng.random() < 0.5))


def _usual(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[0] if rng.random() < law.USUAL else _pick(rng, choices[1:])


def _pick(rng: np.random.Generator, choices: Sequence[T], weights: ArrayLike | None = None) -> T:
    if weights is None:
        return choices[int(rng.integers(len(choices)))]
    return choices[int(np.searchsorted(np.cumsum(weights), rng.random() * 0.999999))]
