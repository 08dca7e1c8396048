"""Paints what a phrase says: its things, colours, place, weather and time; all else is drawn by the law."""

import re

import numpy as np
from PIL import Image

from . import vocabulary as law
from .captions import PLURALS
from .painter import paint_plan
from .plan import Wanted, draw_wanted_plan

_KINDS = {kind: kind for kind in law.OBJECTS if kind != "window"} | {"window": "house"}
_KINDS |= {PLURALS.get(kind, f"{kind}s"): drawn for kind, drawn in _KINDS.items()}
_WEATHERS = {name: name for name in law.WEATHERS}
_WEATHERS |= {"sunny": "clear", "rain": "rainy", "snow": "snowy", "fog": "foggy"}
_TIMES = {name: name for name in law.TIMES} | {"evening": "sunset", "dark": "night"}
_LIT_BY = {"sun": "day", "moon": "night"}
_GROUNDS = {ground: ground for grounds in law.GROUNDS.values() for ground in grounds}
_GROUNDS |= {"sandy": "sand", "grassy": "grass", "mossy": "moss", "fields": "field"}
_BACKDROPS = {name: name for name in ("hills", "mountains", "woods", "dunes")} | {
    "hill": "hills",
    "mountain": "mountains",
}
_WATER = ("water", "sea", "lake")
_SCENES = {scene: scene for scene in law.SCENES} | {PLURALS.get(scene, f"{scene}s"): scene for scene in law.SCENES}
_FOUR = 4  # things at most: more would hide one another


def wanted_by(phrase: str) -> Wanted | None:
    """What a phrase asks to be painted; None where it says nothing that the painter knows.

    >>> wanted = wanted_by("two red boats on a rainy beach")
    >>> wanted.label, wanted.things, wanted.weather, wanted.time
    ('beach', (('boat', 'red'),), 'rainy', None)
    >>> wanted_by("justice") is None
    True
    """
    words = re.findall(r"[a-z]+", phrase.lower())
    things: list[tuple[str, str | None]] = []
    colour, spare = None, None
    for word in words:
        if word in law.COLOURS:
            colour = spare = word
        elif word in _KINDS:
            kind = _KINDS[word]
            things.append((kind, colour if kind in law.COLOURED else None))
            spare = None if colour and kind in law.COLOURED else spare
            colour = None

    def said(known: dict[str, str]) -> str | None:
        return next((known[word] for word in words if word in known), None)

    found = Wanted(
        label=said(_SCENES),
        things=tuple(dict.fromkeys(things))[:_FOUR],
        weather=said(_WEATHERS),
        time=said(_TIMES) or said(_LIT_BY),
        ground=said(_GROUNDS),
        backdrop=said(_BACKDROPS),
        water=not set(_WATER).isdisjoint(words),
    )
    if spare and found == Wanted():  # "something red": a ball and a car are at home in most places
        return Wanted(things=(("ball", spare), ("car", spare)))
    return None if found == Wanted() else found


def paint_phrase(phrase: str, count: int, *, size: int = 64, seed: int = 0) -> list[Image.Image]:
    """So many pictures of what a phrase says, the same for the same arguments; none where the painter knows no word."""
    wanted = wanted_by(phrase)
    if wanted is None:
        return []
    entropy = np.random.SeedSequence([seed, *phrase.lower().encode()])
    streams = [np.random.Generator(np.random.Philox(child)) for child in entropy.spawn(count)]
    return [paint_plan(draw_wanted_plan(wanted, rng), size, rng)[0] for rng in streams]
