"""The names of a layer: chosen on one half of the probe, kept where they hold on the other."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..describers.concept_matching import name_units
from ..encoders.concepts import ConceptSet
from ..recording.layer_record import LayerRecord
from ..similarity.claims import FREE, RIDGE, SHARPNESS, TILT
from .description import Description
from .evidence import FALSE_DISCOVERIES, OUTDONE, Evidence, evaluate_names
from .halves import Halves
from .near_duplicates import NEAR_DUPLICATE
from .permutation_test import DRAWS
from .predictability import LEVEL, RESAMPLES, TOP_SHARE, best_predictors, prediction_targets
from .synonyms import NEAR_SYNONYM, plain_form

MINIMUM_OBSERVATIONS = 10  # different images to judge by; with fewer there are no names

# everything that decides about a name, for the manifest
NAMING = {
    "minimum_observations": MINIMUM_OBSERVATIONS,
    "near_duplicate": NEAR_DUPLICATE,
    "near_synonym": NEAR_SYNONYM,
    "false_discoveries": FALSE_DISCOVERIES,
    "permutations": DRAWS,
    "resamples": RESAMPLES,
    "level": LEVEL,
    "top_share": TOP_SHARE,
    "outdone": OUTDONE,
    "claims": [TILT, RIDGE, SHARPNESS, FREE],
}


def name_verified(
    record: LayerRecord,
    scores: Float[Tensor, "units concepts"],
    images: Float[Tensor, "images dim"],
    embeddings: Float[Tensor, "concepts dim"],
    concepts: ConceptSet,
    halves: Halves,
    *,
    summary: str,
    similarity: str,
) -> tuple[Description, ...]:
    """Each unit's best concept by the `scores` of the choosing half, with what the judging half says of it.

    It becomes the unit's name if it predicts the unit better than permuted images would (false discoveries over the
    layer: .05) and no rival does so clearly better; the rival is the concept that predicts the unit best on the
    choosing half. Else the description is empty; the candidates and the evidence stay. Nothing of the judging half
    enters the choice, so what is said of the name holds for other images like these.
    """
    chosen = halves.choosing
    named = name_units(record, scores, concepts, summary=summary, similarity=similarity, embeddings=embeddings)
    units = torch.tensor([unit.unit for unit in named if unit.named], dtype=torch.int64)
    if not len(units) or halves.observations["distinct"] < MINIMUM_OBSERVATIONS:
        return tuple(_kept(unit, None) for unit in named)
    won = None if record.won is None else record.won[summary][:, units]
    answers = prediction_targets(record.summaries[summary][:, units], won)
    best = scores[units].argmax(1)
    rivals = best_predictors(answers[chosen], images[chosen], embeddings)
    evidence = evaluate_names(
        halves.judged(answers),
        halves.judged(images),
        embeddings,
        chosen=best,
        rivals=torch.where(_say_the_same(best, rivals, concepts, embeddings), best, rivals),
        names=concepts.names,
    )
    weighed = dict(zip(units.tolist(), evidence, strict=True))
    return tuple(_kept(unit, weighed.get(unit.unit)) for unit in named)


def _kept(unit: Description, evidence: Evidence | None) -> Description:
    stands = evidence is not None and evidence.stands
    return replace(unit, description=unit.description if stands else "", evidence=evidence)


def _say_the_same(
    one: Tensor, other: Tensor, concepts: ConceptSet, embeddings: Float[Tensor, "concepts dim"]
) -> Bool[Tensor, "units"]:
    close = (embeddings[one].float() * embeddings[other].float()).sum(1) > NEAR_SYNONYM
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    same = [plain_form(concepts.names[a]) == plain_form(concepts.names[b]) for a, b in pairs]
    return close | torch.tensor(same)
