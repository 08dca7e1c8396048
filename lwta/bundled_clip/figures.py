"""How good the bundled small CLIP is on pictures that nobody trained on: split "test", zero-shot, shipped weights.

scene           which of "a beach", "a harbour", ... is nearest
object AUC      "a boat": pictures with at least 12 visible pixels of it against pictures without any, per object
within a scene  the same among pictures of one scene class, averaged: the scene alone no longer helps
held-out pairs  "a red boat" against the 7 other colours, for things of a kind that stands alone in its picture and a
                combination that training never showed, at least 40 visible pixels and 60 % visible
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc

from dissect.encoders import bundled_clip
from pictures.scenes import COLOURED, COLOURS, HELD_OUT_PAIRS, OBJECTS, SCENES, Scene, paint
from pictures.scenes.captions import with_article

from .statements import SEEN

CLEAR_PIXELS, CLEAR_SHARE = 40, 0.6


def figures(folder: Path, count: int, *, split: str = "test", seed: int = 0) -> dict:
    """The figures of a bundle on the first pictures of a split."""
    model, preprocess, tokenizer = bundled_clip.load(folder)
    scenes = [paint(split, n, seed=seed) for n in range(count)]
    images = _images(model, preprocess, scenes)

    def texts(phrases: list[str]) -> Tensor:
        with torch.no_grad():
            return model.encode_text(tokenizer(phrases), normalize=True)

    labels = np.array([SCENES.index(scene.label) for scene in scenes])
    named = (images @ texts([with_article(name) for name in SCENES]).T).argmax(1).numpy()
    scores = (images @ texts([with_article(name) for name in OBJECTS]).T).numpy()
    seen = np.array([[_pixels(scene, name) for name in OBJECTS] for scene in scenes])
    known = {name: _auc(scores[:, n], seen[:, n]) for n, name in enumerate(OBJECTS)}
    within = [
        _auc(scores[labels == label, n], seen[labels == label, n], least=5)
        for n in range(len(OBJECTS))
        for label in range(len(SCENES))
    ]
    colours = torch.stack([texts([with_article(f"{c} {kind}") for c in COLOURS]) for kind in COLOURED])
    held, shown = _colours(scenes, images, colours)
    return {
        "pictures": count,
        "scene accuracy": float((named == labels).mean()),
        "object AUC": float(np.nanmean(list(known.values()))),
        "worst object": min((value, name) for name, value in known.items() if value == value),
        "object AUC within a scene": float(np.nanmean(within)),
        "held-out pairs": (float(np.mean([ok for ok, _ in held])), len(held)),
        "seen pairs": (float(np.mean([ok for ok, _ in shown])), len(shown)),
        "objects": known,
        "held-out by pair": _by_pair(held),
    }


def print_figures(found: dict) -> None:
    """Prints them, worst things last."""
    print(f"{found['pictures']} held-out pictures, zero-shot:")
    print(f"  scene accuracy             {found['scene accuracy']:.3f}")
    print(f"  object AUC, mean           {found['object AUC']:.3f}")
    print(f"  object AUC, worst          {found['worst object'][0]:.3f} ({found['worst object'][1]})")
    print(f"  object AUC within a scene  {found['object AUC within a scene']:.3f}")
    for name in ("held-out pairs", "seen pairs"):
        print(f"  {name}, 1 of {len(COLOURS)} colours {found[name][0]:.3f} (of {found[name][1]})")
    print("  held-out:", ", ".join(f"{pair} {share:.2f}" for pair, share in found["held-out by pair"].items()))
    worst = sorted((value, name) for name, value in found["objects"].items())[:8]
    print("  lowest AUC:", ", ".join(f"{name} {value:.3f}" for value, name in worst))


def _images(model: nn.Module, preprocess, scenes: list[Scene]) -> Tensor:
    out = []
    with torch.no_grad():
        for start in range(0, len(scenes), 200):
            pixels = torch.stack([preprocess(scene.image) for scene in scenes[start : start + 200]])
            out.append(model.encode_image(pixels, normalize=True))
    return torch.cat(out)


def _pixels(scene: Scene, name: str) -> int:
    return sum(int(thing.mask.sum()) for thing in scene.things if thing.name == name)


def _auc(scores: np.ndarray, seen: np.ndarray, least: int = 1) -> float:
    """The share of (present, absent) pairs in the right order, ties half; NaN with fewer than `least` of either."""
    present, known = seen >= SEEN, (seen >= SEEN) | (seen == 0)
    if min(present.sum(), (seen == 0).sum()) < least:
        return float("nan")
    # torchmetrics squashes scores outside [0, 1]; cosines are brought into it, which keeps their order
    return float(binary_auroc(torch.from_numpy(scores[known] / 2 + 0.5), torch.from_numpy(present[known])))


def _colours(scenes: list[Scene], images: Tensor, colours: Tensor) -> tuple[list, list]:
    """(right or wrong, pair) for the clear things of held-out pairs, and of the others."""
    held: list[tuple[bool, tuple[str, str]]] = []
    shown: list[tuple[bool, tuple[str, str]]] = []
    for scene, image in zip(scenes, images, strict=True):
        kinds = [thing.name for thing in scene.things]
        for thing in scene.things:
            clear = thing.mask.sum() >= CLEAR_PIXELS and thing.visible >= CLEAR_SHARE
            if thing.colour is None or not clear or kinds.count(thing.name) > 1:
                continue
            guess = tuple(COLOURS)[int((colours[COLOURED.index(thing.name)] @ image).argmax())]
            pair = (thing.name, thing.colour)
            (held if pair in HELD_OUT_PAIRS else shown).append((guess == thing.colour, pair))
    return held, shown


def _by_pair(held: list) -> dict[str, float]:
    pairs = sorted({pair for _, pair in held})
    return {f"{c} {k}": float(np.mean([ok for ok, pair in held if pair == (k, c)])) for k, c in pairs}
