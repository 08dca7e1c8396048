"""What can be said about a painted scene and is known to be true or false: the facts that train the small CLIP.

A fact has several phrasings ("a red boat", "red boats", "a photo of a red boat") and one column of truth over the
pictures: 1 it holds, 0 it does not, -1 nobody can say (a thing too small to count as seen).
"""

from dataclasses import dataclass

import numpy as np

from pictures.scenes import COLOURED, COLOURS, HELD_OUT_PAIRS, OBJECTS, SCENES, Scene
from pictures.scenes.captions import PLURALS, WHERE, with_article

SEEN = 12  # visible pixels of a 64 px picture from which a thing counts as present; 0 is absent, between is unknown

WEATHER = {
    "clear": ("clear weather", "a clear sky", "clear"),
    "cloudy": ("cloudy weather", "a cloudy sky", "cloudy"),
    "rainy": ("rainy weather", "rain", "rainy"),
    "snowy": ("snowy weather", "falling snow", "snowy"),
    "foggy": ("foggy weather", "fog", "foggy"),
}
TIME = {
    "day": ("day", "by day", "a picture by day"),
    "sunset": ("sunset", "at sunset", "the evening"),
    "night": ("night", "at night", "a dark night"),
}
GROUND = {
    "sand": ("sand", "sandy ground", "yellow sand"),
    "grass": ("grass", "grassy ground", "green grass"),
    "pavement": ("pavement", "a pavement", "grey pavement"),
    "earth": ("earth", "brown earth", "bare earth"),
    "field": ("a field", "a golden field", "field"),
    "moss": ("moss", "dark moss", "mossy ground"),
    "gravel": ("gravel", "grey gravel", "gravel ground"),
    "snow": ("snow on the ground", "snowy ground", "white ground"),
}
BACKDROP = {
    "hills": ("hills", "green hills", "hills far away"),
    "mountains": ("mountains", "mountains far away", "a mountain"),
    "woods": ("woods", "woods far away", "distant woods"),
    "dunes": ("dunes", "sandy dunes", "dunes far away"),
}
WATER = ("water", "blue water", "the sea")


@dataclass(frozen=True)
class SceneStatement:
    """One fact: its sort, what it is about, and its phrasings."""

    sort: str
    about: tuple[str, ...]
    phrases: tuple[str, ...]


def all_statements() -> tuple[SceneStatement, ...]:
    """Every fact that is trained on; a held-out pair of kind and colour is not among them."""
    facts = [SceneStatement("scene", (s,), (with_article(s), s, WHERE[s], *_photos(with_article(s)))) for s in SCENES]
    facts += [
        SceneStatement("object", (k,), (with_article(k), k, plural(k), *_photos(with_article(k)))) for k in OBJECTS
    ]
    for kind in COLOURED:
        for colour in COLOURS:
            if (kind, colour) not in HELD_OUT_PAIRS:
                pair = f"{colour} {kind}"
                phrases = (with_article(pair), pair, f"{colour} {plural(kind)}", *_photos(with_article(pair)))
                facts.append(SceneStatement("pair", (kind, colour), phrases))
    facts += [SceneStatement("colour", (c,), (c, f"something {c}", f"{with_article(c)} thing")) for c in COLOURS]
    for sort, values in (("weather", WEATHER), ("time", TIME), ("ground", GROUND), ("backdrop", BACKDROP)):
        facts += [SceneStatement(sort, (value,), said) for value, said in values.items()]
    facts.append(SceneStatement("water", ("water",), WATER))
    for scene in SCENES:
        facts += [
            SceneStatement("scene time", (scene, t), (f"{with_article(scene)} {said[1]}",)) for t, said in TIME.items()
        ]
        for weather in WEATHER:
            phrases = (f"{with_article(weather)} {scene}", f"{weather} {scene}")
            facts.append(SceneStatement("scene weather", (scene, weather), phrases))
    return tuple(facts)


def truth(scene: Scene, facts: tuple[SceneStatement, ...]) -> np.ndarray:
    """Which facts hold in a picture: int8 (facts), 1, 0 or -1 (unknown)."""
    pixels: dict[tuple[str, ...], int] = {}
    for thing in scene.things:
        seen = int(thing.mask.sum())
        for key in {("object", thing.name), ("pair", thing.name, thing.colour), ("colour", thing.colour)}:
            pixels[key] = pixels.get(key, 0) + seen
    least = SEEN * (scene.image.width / 64) ** 2
    known = {("scene", scene.label)} | {(sort, value) for sort, value in scene.attributes.items()}
    known |= {("scene time", scene.label, scene.attributes["time"])}
    known |= {("scene weather", scene.label, scene.attributes["weather"])}
    row = np.zeros(len(facts), np.int8)
    for n, fact in enumerate(facts):
        key = (fact.sort, *fact.about)
        if fact.sort in ("object", "pair", "colour"):
            seen = pixels.get(key, 0)
            row[n] = 1 if seen >= least else 0 if seen == 0 else -1
        else:
            row[n] = key in known
    return row


def plural(kind: str) -> str:
    """More than one of a kind, in words."""
    return PLURALS.get(kind, f"{kind}s")


def _photos(phrase: str) -> tuple[str, ...]:
    return (f"a photo of {phrase}", f"a picture with {phrase}", f"there is {phrase}")
