"""Statements about a painted scene whose truth is known: what the small CLIP is trained on.

A statement has several phrasings ("a red boat", "red boats", "a photo of a red boat") and one column of truth over the
pictures: 1 true, 0 false, -1 unknown (an object too small to count as visible).
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
    """One statement: its sort, what it is about, and its phrasings."""

    sort: str
    about: tuple[str, ...]
    phrases: tuple[str, ...]


def all_statements() -> tuple[SceneStatement, ...]:
    """Every statement that is trained on; a held-out pair of kind and colour is not among them."""
    statements = [
        SceneStatement("scene", (s,), (with_article(s), s, WHERE[s], *_photos(with_article(s)))) for s in SCENES
    ]
    statements += [
        SceneStatement("object", (k,), (with_article(k), k, plural(k), *_photos(with_article(k)))) for k in OBJECTS
    ]
    for kind in COLOURED:
        for colour in COLOURS:
            if (kind, colour) not in HELD_OUT_PAIRS:
                pair = f"{colour} {kind}"
                phrases = (with_article(pair), pair, f"{colour} {plural(kind)}", *_photos(with_article(pair)))
                statements.append(SceneStatement("pair", (kind, colour), phrases))
    statements += [SceneStatement("colour", (c,), (c, f"something {c}", f"{with_article(c)} thing")) for c in COLOURS]
    for sort, values in (("weather", WEATHER), ("time", TIME), ("ground", GROUND), ("backdrop", BACKDROP)):
        statements += [SceneStatement(sort, (value,), phrases) for value, phrases in values.items()]
    statements.append(SceneStatement("water", ("water",), WATER))
    for scene in SCENES:
        statements += [
            SceneStatement("scene time", (scene, t), (f"{with_article(scene)} {phrases[1]}",))
            for t, phrases in TIME.items()
        ]
        for weather in WEATHER:
            phrases = (f"{with_article(weather)} {scene}", f"{weather} {scene}")
            statements.append(SceneStatement("scene weather", (scene, weather), phrases))
    return tuple(statements)


def truth(scene: Scene, statements: tuple[SceneStatement, ...]) -> np.ndarray:
    """Which statements hold in a picture: int8 (statements), 1, 0 or -1 (unknown)."""
    pixels: dict[tuple[str | None, ...], int] = {}
    for thing in scene.things:
        seen = int(thing.mask.sum())
        for key in (("object", thing.name), ("pair", thing.name, thing.colour), ("colour", thing.colour)):
            pixels[key] = pixels.get(key, 0) + seen
    least = SEEN * (scene.image.width / 64) ** 2
    known: set[tuple[str, ...]] = {
        ("scene", scene.label),
        ("scene time", scene.label, scene.attributes["time"]),
        ("scene weather", scene.label, scene.attributes["weather"]),
        *scene.attributes.items(),
    }
    row = np.zeros(len(statements), np.int8)
    for n, statement in enumerate(statements):
        asked = (statement.sort, *statement.about)
        if statement.sort in ("object", "pair", "colour"):
            seen = pixels.get(asked, 0)
            row[n] = 1 if seen >= least else 0 if seen == 0 else -1
        else:
            row[n] = asked in known
    return row


def plural(kind: str) -> str:
    """More than one of a kind, in words."""
    return PLURALS.get(kind, f"{kind}s")


def _photos(phrase: str) -> tuple[str, ...]:
    return (f"a photo of {phrase}", f"a picture with {phrase}", f"there is {phrase}")
