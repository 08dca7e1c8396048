"""Name each unit by the concept that fits its activations best, where that holds on images that did not choose it.

CLIP-Dissect (Oikarinen & Weng 2023, sec. 3); for competitions DISCOVER (Panousis & Chatzis 2023, sec. 3). The halves
and the tests are ours: `naming/`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from competition_layers.names import nearest

from ..naming.description import Candidate, Description
from ..naming.evidence import FALSE_DISCOVERIES, OUTDONE, Evidence, evaluate_names
from ..naming.halves import Halves
from ..naming.near_duplicates import NEAR_DUPLICATE
from ..naming.permutation_test import DRAWS
from ..naming.predictability import LEVEL, RESAMPLES, TOP_SHARE, best_predictors, prediction_targets
from ..naming.space import Space
from ..naming.synonyms import NEAR_SYNONYM, distinct_names, same_names
from ..recording.layer_record import LayerRecord
from ..recording.unit_values import UnitValues
from ..similarity import DEFAULT_SIMILARITY, SIMILARITIES, scores_and_prior
from ..similarity.claims import FEW, FREE, SHARPNESS

MINIMUM_SUPPORT = 3  # different images on which a unit says something, of each half; below that a name is a guess
MINIMUM_OBSERVATIONS = 10  # different images to judge by; with fewer there are no names
LEAST_R = 0.15  # of 1,000 known class units on photographs it keeps 96 % of the right names and 82 % of the wrong
CANDIDATES = 5
_LOOKED_AT = 5 * CANDIDATES  # of a unit's best concepts, near-synonyms among them

# everything that decides about a name, for the manifest
NAMING = {
    "minimum_support": MINIMUM_SUPPORT,
    "minimum_observations": MINIMUM_OBSERVATIONS,
    "near_duplicate": NEAR_DUPLICATE,
    "near_synonym": NEAR_SYNONYM,
    "false_discoveries": FALSE_DISCOVERIES,
    "permutations": DRAWS,
    "statistic": "studentised",
    "resamples": RESAMPLES,
    "level": LEVEL,
    "top_share": TOP_SHARE,
    "outdone": OUTDONE,
    "claims": ["ridge", FEW, SHARPNESS, FREE],
}


@dataclass(frozen=True)
class Naming:
    """What the user says about names: the similarity that chooses them, the least r at which one is written, and which
    pictures belong together (`folder`, `prefix` or a CSV file: `blocks_by`)."""

    similarity: str = DEFAULT_SIMILARITY
    least_r: float = LEAST_R
    blocks: str | Path | None = None

    def __post_init__(self) -> None:
        if self.similarity not in SIMILARITIES:
            known = ", ".join(SIMILARITIES)
            offered = nearest(self.similarity, SIMILARITIES)
            raise ValueError(f"Expected a similarity among {known} but got {self.similarity!r}{offered}")
        if not 0 <= self.least_r < 1:
            raise ValueError(f"Expected least_r, a correlation, from 0 to below 1 but got {self.least_r}")


def name_verified(
    record: LayerRecord, summary: str, space: Space, halves: Halves, naming: Naming | None = None
) -> tuple[tuple[Description, ...], Float[Tensor, "concepts"] | None]:
    """The descriptions of a layer's units, and the similarity's prior over the layer (None: it has none).

    1. On the choosing half the similarity ranks the concepts of each unit; near-synonyms of a better one are left out.
    2. On the judging half the first of them, and no other, is tested: it must predict the unit better than permuted
       images would (false discoveries over the layer: .05), and no rival may do so clearly better. The rival is the
       concept that predicts the unit best on the choosing half.
    3. It becomes the description if it stands, and if r is at least `least_r`. Else that is empty; candidates and
       evidence stay.

    A unit that says something on fewer than 3 different images of the choosing half has no candidates, of the judging
    half no evidence. Nothing of the judging half enters the choice, so what is said of the name holds for other images
    like these.
    """
    naming = naming or Naming()
    values, choosing = _recorded(record, summary, space), halves.choosing
    seen, phrases = space.image_embeddings[choosing], space.concept_embeddings
    chosen_by = values.on(choosing)
    scores, prior = scores_and_prior(chosen_by.values, seen, phrases, similarity=naming.similarity, won=chosen_by.won)
    ranked = _ranked(scores, space)
    described, judged = (support >= MINIMUM_SUPPORT for support in halves.support(values.active))
    evidence: dict[int, Evidence] = {}
    units = (described & judged).nonzero().flatten()
    if len(units) and halves.observations["distinct"] >= MINIMUM_OBSERVATIONS:
        targets = prediction_targets(values.of(units).values, values.of(units).won)
        chosen = torch.tensor([ranked[unit][0] for unit in units.tolist()], device=units.device)
        rivals = best_predictors(targets[choosing], seen, phrases)
        same = same_names(chosen, rivals, space.names, phrases)
        found = evaluate_names(
            halves.judged(targets),
            halves.judged(space.image_embeddings),
            phrases,
            chosen=chosen,
            rivals=torch.where(same, chosen, rivals),
            names=space.names,
        )
        evidence = dict(zip(units.tolist(), found, strict=True))
    candidates = [
        _candidates(row, concepts, space, naming) if known else ()
        for row, concepts, known in zip(scores, ranked, described.tolist(), strict=True)
    ]
    return _descriptions(record, summary, candidates, evidence, naming.least_r), prior


def name_units(
    record: LayerRecord, summary: str, space: Space, naming: Naming | None = None
) -> tuple[Description, ...]:
    """As published: each unit's best concept over all images, untested, and the next ones. A unit that says something
    on fewer than 3 images has none."""
    naming = naming or Naming()
    scores = score_units(record, summary, space, naming)
    described = (record.support(summary) >= MINIMUM_SUPPORT).tolist()
    candidates = [
        _candidates(row, concepts, space, naming) if known else ()
        for row, concepts, known in zip(scores, _ranked(scores, space), described, strict=True)
    ]
    return _descriptions(record, summary, candidates, None, naming.least_r)


def score_units(
    record: LayerRecord,
    summary: str,
    space: Space,
    naming: Naming | None = None,
    *,
    prior: Float[Tensor, "concepts"] | None = None,
) -> Float[Tensor, "units concepts"]:
    """The similarity of every unit with every concept over all images; with the layer's `prior` the units may be some
    of it.

    Raises:
        ValueError: embeddings of other images than were recorded.
    """
    recorded, similarity = _recorded(record, summary, space), SIMILARITIES[(naming or Naming()).similarity]
    return similarity(recorded.values, space.image_embeddings, space.concept_embeddings, won=recorded.won, prior=prior)


def _recorded(record: LayerRecord, summary: str, space: Space) -> UnitValues:
    recorded = record.unit_values(summary)
    if len(recorded.values) != len(space.image_embeddings):
        raise ValueError(
            f"Expected embeddings of the {len(recorded.values)} recorded images of layer {record.layer!r} but got "
            f"{len(space.image_embeddings)}"
        )
    return recorded


def _ranked(scores: Float[Tensor, "units concepts"], space: Space) -> list[list[int]]:
    """Each unit's best concepts that mean different things."""
    best = scores.topk(min(_LOOKED_AT, len(space.names)), dim=1).indices
    kept = distinct_names(best, space.names, space.concept_embeddings, keep=CANDIDATES)
    return [[row[rank] for rank in ranks] for row, ranks in zip(best.tolist(), kept, strict=True)]


def _candidates(
    scores: Float[Tensor, "concepts"], concepts: Sequence[int], space: Space, naming: Naming
) -> tuple[Candidate, ...]:
    return tuple(Candidate(space.names[i], float(scores[i]), naming.similarity) for i in concepts)


def _descriptions(
    record: LayerRecord,
    summary: str,
    candidates: Sequence[tuple[Candidate, ...]],
    evidence: dict[int, Evidence] | None,
    least_r: float,
) -> tuple[Description, ...]:
    """One a unit; without `evidence` (None) every first candidate is the description."""
    support, (rates, values) = record.support(summary).tolist(), _wins(record)
    described = []
    for unit, names in enumerate(candidates):
        found = None if evidence is None else evidence.get(unit)
        stands = evidence is None or (found is not None and found.stands and found.predictability >= least_r)
        described.append(
            Description(
                layer=record.layer,
                unit=unit,
                description=names[0].description if names and stands else "",
                similarity=names[0].similarity if names else 0.0,
                win_rate=rates[unit] if rates else None,
                mean_when_winning=values[unit] if values else None,
                support=support[unit],
                candidates=names,
                margin=names[0].similarity - names[1].similarity if len(names) > 1 else None,
                evidence=found,
            )
        )
    return tuple(described)


def _wins(record: LayerRecord) -> tuple[list[float] | None, list[float] | None]:
    """Of each unit over all images and positions: share won, and mean value there."""
    if record.win_rate is None or record.value_when_winning is None:
        return None, None
    total = record.win_rate.double().sum(0)
    weighted = (record.value_when_winning.double() * record.win_rate.double()).sum(0)
    means = torch.where(total > 0, weighted / total.clamp(min=1e-12), 0.0)
    return record.win_rate.double().mean(0).tolist(), means.tolist()
