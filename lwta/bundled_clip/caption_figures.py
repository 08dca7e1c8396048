"""How good captions of painted scenes are, on pictures that nobody trained on: split "test".

place, weather, time   the caption says the picture's
things, precision      of the kinds named, those of which 12 pixels at least are there
things, recall         of the (at most four) kinds most seen, those named
colours                of the kinds rightly named that stand in one colour only, those named in it; of combinations that
                       training showed, and of those that it never did
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dissect.backends.bundled_captioner import THINGS, BundledCaptioner
from pictures.scenes import HELD_OUT_PAIRS, Scene, paint
from pictures.scenes.phrases import wanted_by
from pictures.scenes.plan import Wanted

from .statements import SEEN

FIGURES = ("place", "weather", "time", "things, precision", "things, recall", "colours, seen", "colours, held out")


def caption_figures(folder: Path, count: int, *, split: str = "test", seed: int = 0) -> dict[str, tuple[float, int]]:
    """Each figure of the captioner in a folder, with the number of cases that it is of."""
    scenes = [paint(split, n, seed=seed) for n in range(count)]
    return scored(scenes, BundledCaptioner(folder).caption([scene.image for scene in scenes]))


def scored(scenes: Sequence[Scene], captions: Sequence[str]) -> dict[str, tuple[float, int]]:
    """The figures of captions of known scenes.

    >>> scene = paint("clip", 3)  # a clear village at sunset: a windmill, a church, a white kite, a sun
    >>> found = scored([scene], ["a clear village at night with a windmill, a red kite and a boat"])
    >>> found["weather"], found["time"], found["things, precision"], found["colours, seen"]
    ((1.0, 1), (0.0, 1), (0.6666666666666666, 3), (0.0, 1))
    """
    cases: dict[str, list[bool]] = {name: [] for name in FIGURES}
    for scene, caption in zip(scenes, captions, strict=True):
        said = wanted_by(caption) or Wanted()
        for name, right, named in (
            ("place", scene.label, said.label),
            ("weather", scene.attributes["weather"], said.weather),
            ("time", scene.attributes["time"], said.time),
        ):
            cases[name].append(right == named)
        there, most = _there(scene)
        kinds = {kind for kind, _ in said.things}
        cases["things, precision"] += [kind in there for kind in kinds]
        cases["things, recall"] += [kind in kinds for kind in most]
        for kind, colour in said.things:
            if colour is not None and len(there.get(kind, ())) == 1:
                (own,) = there[kind]
                which = "colours, held out" if (kind, own) in HELD_OUT_PAIRS else "colours, seen"
                cases[which].append(colour == own)
    return {name: (sum(of) / max(1, len(of)), len(of)) for name, of in cases.items()}


def print_figures(found: dict[str, tuple[float, int]]) -> None:
    """One a line."""
    for name, (share, cases) in found.items():
        print(f"  {name:18} {share:.3f} (of {cases})")


def _there(scene: Scene) -> tuple[dict[str, set[str | None]], list[str]]:
    """The kinds that are seen, each with its colours; the most seen of them."""
    pixels: Counter[str] = Counter()
    colours: dict[str, set[str | None]] = {}
    for thing in scene.things:
        pixels[thing.name] += int(thing.mask.sum())
        colours.setdefault(thing.name, set()).add(thing.colour)
    there = {kind: colours[kind] for kind, seen in pixels.items() if seen >= SEEN}
    most = [kind for kind, _ in pixels.most_common() if kind in there and kind != "window"]
    return there, most[:THINGS]
