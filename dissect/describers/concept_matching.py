"""Name each unit by the concept that fits its activations best.

CLIP-Dissect (Oikarinen & Weng 2023, sec. 3); for competitions DISCOVER (Panousis & Chatzis 2023, sec. 3).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from competition_layers.names import nearest

from ..encoders.concepts import ConceptSet
from ..naming.description import Candidate, Description
from ..naming.synonyms import distinct_names
from ..recording.layer_record import LayerRecord
from ..similarity import SIMILARITIES, scores_and_prior

MINIMUM_SUPPORT = 5  # images; below that a name would be a guess
CANDIDATES = 5
_LOOKED_AT = 5 * CANDIDATES  # of a unit's best concepts, near-synonyms among them


def score_units(
    record: LayerRecord,
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    summary: str,
    similarity: str,
    prior: Float[Tensor, "concepts"] | None = None,
) -> Float[Tensor, "units concepts"]:
    """The chosen similarity of every unit with every concept; with the layer's `prior` the units may be some of it.

    Raises:
        ValueError: an unknown similarity (the nearest is offered), or embeddings of other images than were recorded.
    """
    values, won = _recorded(record, images, summary, similarity)
    return SIMILARITIES[similarity](values, images, concepts, won=won, prior=prior)


def score_layer(
    record: LayerRecord,
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    summary: str,
    similarity: str,
    chosen: Bool[Tensor, "images"],
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"] | None]:
    """The scores of a whole layer on the `chosen` images, and the prior found with them (None: there is none).

    Raises:
        ValueError: as `score_units`.
    """
    values, won = _recorded(record, images, summary, similarity)
    won = None if won is None else won[chosen]
    return scores_and_prior(values[chosen], images[chosen], concepts, similarity=similarity, won=won)


def _recorded(
    record: LayerRecord, images: Tensor, summary: str, similarity: str
) -> tuple[Float[Tensor, "images units"], Bool[Tensor, "images units"] | None]:
    """What is scored: the units' values, and what they won."""
    if similarity not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        raise ValueError(
            f"Expected a similarity among {known} but got {similarity!r}{nearest(similarity, SIMILARITIES)}"
        )
    values = record.summaries[summary]
    if len(values) != len(images):
        raise ValueError(
            f"Expected embeddings of the {len(values)} recorded images of layer {record.layer!r} but got {len(images)}"
        )
    return values, None if record.won is None else record.won[summary]


def name_units(
    record: LayerRecord,
    scores: Float[Tensor, "units concepts"],
    concepts: ConceptSet,
    *,
    summary: str,
    similarity: str,
    embeddings: Float[Tensor, "concepts dim"] | None = None,
    minimum_support: int = MINIMUM_SUPPORT,
) -> tuple[Description, ...]:
    """The best concept of each unit, and the next; a unit that speaks on too few images stays unnamed.

    With the concepts' `embeddings` near-synonyms of a better candidate are left out.
    """
    if scores.shape[1] != len(concepts):
        raise ValueError(f"Expected scores of {len(concepts)} concepts but got {scores.shape[1]}")
    support = record.support(summary).tolist()
    best = scores.topk(min(_LOOKED_AT, len(concepts)), dim=1)
    if embeddings is None:
        ranks = [list(range(min(CANDIDATES, len(concepts))))] * len(scores)
    else:
        ranks = distinct_names(best.indices, concepts.names, embeddings, keep=CANDIDATES)
    rates, values = _wins(record)
    named = []
    for unit, (kept, indices, ranked) in enumerate(
        zip(ranks, best.indices.tolist(), best.values.tolist(), strict=True)
    ):
        honest = support[unit] >= minimum_support
        candidates = tuple(Candidate(concepts.names[indices[r]], ranked[r], similarity) for r in kept if honest)
        named.append(
            Description(
                layer=record.layer,
                unit=unit,
                description=candidates[0].description if honest else "",
                similarity=candidates[0].similarity if honest else 0.0,
                win_rate=rates[unit] if rates else None,
                mean_when_winning=values[unit] if values else None,
                support=support[unit],
                candidates=candidates,
                margin=candidates[0].similarity - candidates[1].similarity if len(candidates) > 1 else None,
            )
        )
    return tuple(named)


def _wins(record: LayerRecord) -> tuple[list[float] | None, list[float] | None]:
    """Of each unit over all images and positions: share won, and mean value there."""
    if record.win_rate is None or record.value_when_winning is None:
        return None, None
    total = record.win_rate.double().sum(0)
    weighted = (record.value_when_winning.double() * record.win_rate.double()).sum(0)
    means = torch.where(total > 0, weighted / total.clamp(min=1e-12), 0.0)
    return record.win_rate.double().mean(0).tolist(), means.tolist()
