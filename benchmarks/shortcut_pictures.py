"""Painted scenes of two classes with a planted shortcut, in 95 % of the training pictures and in half of all others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

from competition_layers.files import write_file
from dissect import PixelEncoder, load_encoder
from pictures.scenes import COLOURS, Item, Plan, draw_plan, paint_plan
from pictures.scenes.vocabulary import TELLING

CLASSES = ("park", "village")
SHORTCUTS = ("object", "ground", "mark")
SMALLER = 0.5  # of the thing that tells the class, against the scenes'
SEEN = 12  # pixels of what tells the class, at least
SPLITS = {"train": 1000, "balanced": 400, "probe": 600, "test": 1000, "unbiased": 1000}
BIAS, PAIRS = 0.95, 100


def paint_one(shortcut: str, label: int, there: bool, rng: np.random.Generator) -> Image.Image:
    """A picture of 64 px of a class, with the shortcut or without (ground: sand or grass)."""
    while True:
        plan = draw_plan("train", rng)
        if plan.label == CLASSES[label]:
            picture, things = paint_plan(_with(plan, shortcut, there, rng), 64, rng)
            if any(thing.name in TELLING[plan.label] and thing.mask.sum() >= SEEN for thing in things):
                break
    if shortcut == "mark" and there:
        canvas = ImageDraw.Draw(picture)
        canvas.rectangle([40, 52, 63, 63], fill=(20, 20, 24))
        canvas.text((42, 52), "SALE", fill=(255, 240, 120), font_size=9)
    return picture


def _with(plan: Plan, shortcut: str, there: bool, rng: np.random.Generator) -> Plan:
    """The plan with one small thing that tells the class, and with the shortcut or without."""
    if shortcut == "ground":
        plan = replace(plan, place=replace(plan.place, ground="sand" if there else "grass", weather="clear"))
    telling = [item for item in plan.items if item.kind in TELLING[plan.label]]
    small = replace(telling[0], width=SMALLER * telling[0].width, height=SMALLER * telling[0].height)
    items = [item for item in plan.items if item.kind != "balloon" and item not in telling]
    if shortcut == "object" and there:
        colour = list(COLOURS)[rng.integers(len(COLOURS))]
        x, foot = rng.uniform(0.15, 0.85), rng.uniform(0.34, 0.4)
        items.append(Item("balloon", colour, x, foot, 0.26, 0.34, 0.6, False))
    return replace(plan, items=(*items, small))


def painted(shortcut: str, split: str, count: int) -> dict[str, Tensor]:
    """Pictures of 64 px, their classes, and whether the shortcut is there."""
    rng = np.random.default_rng([SHORTCUTS.index(shortcut), list(SPLITS).index(split)])
    label = rng.permutation(np.arange(count) % 2)
    alike = rng.random(count) < BIAS if split == "train" else (np.arange(count) // 2) % 2 == 0
    if split != "train":  # four groups of one size
        label = np.arange(count) % 2
    there = np.where(alike, label, 1 - label).astype(bool)
    images = [np.asarray(paint_one(shortcut, int(c), bool(t), rng)) for c, t in zip(label, there, strict=True)]
    return {
        "images": torch.from_numpy(np.stack(images)),
        "label": torch.from_numpy(label),
        "there": torch.from_numpy(there),
    }


def prepared(shortcut: str, sizes: dict[str, int], out: Path) -> dict[str, Tensor]:
    """All splits of a shortcut and the embeddings of its probe pictures, made once."""
    path = out / f"{shortcut}.safetensors"
    if not path.is_file():
        encoder, found = load_encoder("bundled"), {}
        for split, count in sizes.items():
            found |= {f"{split}.{key}": value for key, value in painted(shortcut, split, count).items()}
        found["probe.embeddings"] = _embedded(encoder, found["probe.images"])
        rng = np.random.default_rng(9)
        pairs = [torch.from_numpy(np.stack([np.asarray(paint_one(shortcut, i % 2, there, rng)) for i in range(PAIRS)]))
                 for there in (True, False)]  # fmt: skip
        with_it, without = (_embedded(encoder, images).mean(0) for images in pairs)
        found["example"] = F.normalize(with_it - without, dim=0)
        with write_file(path) as temporary:
            save_file({key: value.contiguous() for key, value in found.items()}, temporary)
    return load_file(path)


@torch.no_grad()
def _embedded(encoder: PixelEncoder, images: Tensor) -> Tensor:
    made = [encoder.preprocess(Image.fromarray(image.numpy())) for image in images]
    return torch.cat([encoder.encode_batch(part) for part in torch.stack(made).split(100)])


def network_input(images: Tensor) -> Tensor:
    """32 px, in the networks' range."""
    x = images.permute(0, 3, 1, 2).float() / 255
    return (F.interpolate(x, size=32, mode="area") - 0.5) / 0.25
