"""The units that answer to a phrase."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..folder.dissection import Dissection
from ..naming.near_duplicates import block_means, near_duplicates
from ..naming.permutation_test import alike_in_size, benjamini_hochberg, permutation_p_values
from ..naming.predictability import bootstrap, correlation, interval, prediction_targets, top_precision


@dataclass(frozen=True)
class Answer:
    """How well a phrase predicts one unit over the probe: as in `Evidence`, but on all images, since nothing was
    chosen; `q` is over the units searched. `description` is the unit's own name."""

    layer: str
    unit: int
    description: str
    predictability: float
    low: float
    high: float
    precision: float
    p: float
    q: float = 1.0


def find_units(
    dissection: Dissection,
    phrase: Float[Tensor, "dim"],
    *,
    layers: Sequence[str] | None = None,
    top: int = 10,
) -> tuple[Answer, ...]:
    """The `top` units whose activations follow the phrase's score best, of all `layers`, the best first.

    Args:
        phrase: its embedding, by the dissection's encoder.

    Raises:
        ValueError: an unknown layer (the nearest is offered).
    """
    images = dissection.image_embeddings()
    blocks = near_duplicates(images)
    scores = block_means(images, blocks) @ phrase.double()
    found: list[Answer] = []
    p_values = []
    for layer in layers or dissection.layers:
        answers = block_means(answers_of(dissection, layer), blocks)
        same = scores[:, None].expand(-1, answers.shape[1])
        r = correlation(answers, same)
        low, high = interval(r, bootstrap(answers, same))
        p = permutation_p_values(answers, same, strata=alike_in_size(blocks.unique(return_counts=True)[1]))
        p_values.append(p)
        rows = torch.stack([r, low, high, top_precision(answers, same), p], 1).tolist()
        found += [
            Answer(layer, unit, dissection.description(layer, unit).description, *row) for unit, row in enumerate(rows)
        ]
    q = benjamini_hochberg(torch.cat(p_values)).tolist()
    ranked = sorted(range(len(found)), key=lambda i: -found[i].predictability)[:top]
    return tuple(replace(found[i], q=q[i]) for i in ranked)


def answers_of(dissection: Dissection, layer: str) -> Float[Tensor, "images units"]:
    """What a concept has to predict of each unit of a layer, from the dissection's record."""
    record, summary = dissection.record(layer), dissection.summary(layer)
    return prediction_targets(record.summaries[summary], None if record.won is None else record.won[summary])
