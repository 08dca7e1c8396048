"""What a person might say about a picture: several captions in natural words, about visible things only."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

WHERE = {
    "beach": "on a beach",
    "harbour": "in a harbour",
    "desert": "in a desert",
    "farm": "on a farm",
    "forest": "in a forest",
    "village": "in a village",
    "city": "in a city",
    "campsite": "at a campsite",
    "park": "in a park",
    "railway": "beside a railway",
}
WHEN = {"day": "by day", "sunset": "at sunset", "night": "at night"}
PLURALS = {"bus": "buses", "church": "churches", "bench": "benches", "torch": "torches"}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
CLEARLY = 12  # pixels of a 64 px picture that a thing needs to be worth a word


class Seen(Protocol):
    """A thing of a picture."""

    @property
    def name(self) -> str: ...
    @property
    def colour(self) -> str | None: ...
    @property
    def mask(self) -> np.ndarray[Any, Any]: ...


def write_captions(
    label: str, things: Sequence[Seen], attributes: dict[str, str], rng: np.random.Generator
) -> tuple[str, ...]:
    """Five captions, from the scene alone to a list of what is there."""
    named = [say(name, colour, count) for (name, colour), count in _worth_saying(things).items()]
    named = [named[n] for n in rng.permutation(len(named))]
    weather, time = attributes["weather"], attributes["time"]
    scene = with_article(label)
    air = with_article(weather)
    return (
        f"{scene} {WHEN[time]}",
        f"{air} {time} {WHERE[label]}",
        f"{join(named[:2])} {WHERE[label]}",
        f"{scene} with {join(named[:4])}",
        f"{air} {label} {WHEN[time]} with {join(named[:3])}",
    )


def say(name: str, colour: str | None = None, count: int = 1) -> str:
    """A thing in words.

    >>> say("boat", "red"), say("umbrella"), say("bus", None, 2)
    ('a red boat', 'an umbrella', 'two buses')
    """
    if count > 1:
        name = PLURALS.get(name, f"{name}s")
    phrase = f"{colour} {name}" if colour else name
    return with_article(phrase) if count == 1 else f"{NUMBERS.get(count, 'many')} {phrase}"


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an".

    >>> with_article("orange tent")
    'an orange tent'
    """
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def join(phrases: list[str]) -> str:
    """The phrases as a list in words.

    >>> join(["a boat", "two palms", "a ball"])
    'a boat, two palms and a ball'
    """
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _worth_saying(things: Sequence[Seen]) -> Counter[tuple[str, str | None]]:
    least = CLEARLY * (things[0].mask.shape[0] / 64) ** 2
    return Counter(
        (thing.name, thing.colour) for thing in things if thing.mask.sum() >= least and thing.name != "window"
    )
