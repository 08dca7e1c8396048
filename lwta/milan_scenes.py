"""Described units from the painted scenes: for each statement pictures of which it holds, and where."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from dissect.exemplars.exemplar_set import EXEMPLARS
from dissect.milan.backbone import Backbone
from dissect.milan.training import Annotated
from pictures.scenes import Scene, paint

from .bundled_clip.statements import SceneStatement, all_statements, truth

SEED = 20_000  # of pictures that nothing else is trained, probed or judged with
SETS = 2  # units a statement: other pictures, the same words
PLACES = 8  # of a unit's map: masks are as coarse as those of real units
PHRASES = 3  # of a statement: those after these only say "a picture of"


def scene_units(backbone: Backbone, *, count: int = 1000, seed: int = 0) -> list[Annotated]:
    """Units as MILAN is taught: each a set of 15 painted pictures of which one statement holds, with its phrases.

    The mask of a thing or a colour is where it is seen, on a grid of 8 x 8; of a place, weather or time the whole
    picture. Statements that hold in too few of the `count` pictures are left out.
    """
    scenes = [paint("clip", i, seed=SEED + seed) for i in range(count)]
    statements = all_statements()
    holds = np.stack([truth(scene, statements) for scene in scenes]) == 1
    generator = np.random.default_rng(seed)
    chosen = [
        (statement, generator.choice(found, EXEMPLARS, replace=False))
        for statement, column in zip(statements, holds.T, strict=True)
        if len(found := np.flatnonzero(column)) >= EXEMPLARS
        for _ in range(SETS)
    ]
    masks = [_mask(scenes[i], statement) for statement, places in chosen for i in places]
    of = [int(i) for _, places in chosen for i in places]
    features = backbone.features([scene.image for scene in scenes], masks, of).split(EXEMPLARS)
    return [Annotated(own, statement.phrases[:PHRASES]) for own, (statement, _) in zip(features, chosen, strict=True)]


def _mask(scene: Scene, statement: SceneStatement) -> Tensor:
    """Where a scene shows what a statement is about, as coarse as a map; all over where that has no place."""
    seen = [torch.from_numpy(mask) for mask in _meant(scene, statement)]
    if not seen:
        return torch.ones(1, 1)
    return adaptive_max_pool2d(torch.stack(seen).any(0).float()[None, None], PLACES)[0, 0]


def _meant(scene: Scene, statement: SceneStatement) -> Iterator[Any]:
    """The masks of the things that a statement is about; none where it is about all of the picture."""
    for thing in scene.things:
        if (statement.sort, *statement.about) in (
            ("object", thing.name),
            ("pair", thing.name, thing.colour),
            ("colour", thing.colour),
        ):
            yield thing.mask
