"""From candidates to descriptions: the first becomes the name if it holds on images that did not choose it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoders.space import Space
from ..recording.layer_record import LayerRecord
from ..recording.unit_values import UnitValues
from .description import Candidate, Description
from .evidence import FALSE_DISCOVERIES, OUTDONE, Evidence, Observations, evaluate_names
from .halves import Halves
from .near_duplicates import NEAR_DUPLICATE
from .permutation_test import DRAWS
from .predictability import LEVEL, RESAMPLES, TOP_SHARE, best_predictors, prediction_targets
from .synonyms import NEAR_SYNONYM, same_names

MINIMUM_SUPPORT = 3  # different images on which a unit says something, of each half; below that a name is a guess
MINIMUM_OBSERVATIONS = 10  # different images to judge by; with fewer there are no names
LEAST_R = 0.15  # of 1,000 known class units on photographs it keeps 96 % of the right names and 82 % of the wrong

# everything that decides about a name, whoever proposed it, for the manifest
VERIFYING = {
    "minimum_support": MINIMUM_SUPPORT,
    "minimum_observations": MINIMUM_OBSERVATIONS,
    "near_duplicate": NEAR_DUPLICATE,
    "near_synonym": NEAR_SYNONYM,
    "false_discoveries": FALSE_DISCOVERIES,
    "permutations": DRAWS,
    "statistic": "studentised",
    "strata": "blocks of alike size",
    "resamples": RESAMPLES,
    "level": LEVEL,
    "top_share": TOP_SHARE,
    "outdone": OUTDONE,
}


def describable(values: UnitValues, halves: Halves) -> tuple[Tensor, Tensor]:
    """Of each unit whether it says something on enough images of the choosing half, and of the judging half."""
    choosing, judging = (support >= MINIMUM_SUPPORT for support in halves.support(values.active))
    return choosing, judging


def verified(
    record: LayerRecord,
    summary: str,
    candidates: Sequence[tuple[Candidate, ...]],
    space: Space,
    halves: Halves,
    *,
    least_r: float = LEAST_R,
) -> tuple[Description, ...]:
    """The descriptions of a layer's units, from candidates that the choosing half gave.

    On the judging half the first candidate of a unit, and no other, is tested: it must predict the unit better than
    permuted images would (false discoveries over the layer: .05), and no rival may do so clearly better. The rival is
    the phrase of `space` that predicts the unit best on the choosing half. It becomes the description if it stands, and
    if r is at least `least_r`. Else that is empty; candidates and evidence stay.

    A unit that says something on fewer than 3 different images of the choosing half has no candidates, of the judging
    half no evidence.

    Args:
        space: holds every first candidate among its names.
    """
    values, phrases = record.unit_values(summary), space.concept_embeddings
    described, judged = describable(values, halves)
    kept = [names if known else () for names, known in zip(candidates, described.tolist(), strict=True)]
    tested = [unit for unit, told in enumerate(judged.tolist()) if told and kept[unit]]
    evidence: dict[int, Evidence] = {}
    if tested and halves.observations["distinct"] >= MINIMUM_OBSERVATIONS:
        places = {name: i for i, name in enumerate(space.names)}
        units = torch.tensor(tested, device=values.values.device)
        targets = prediction_targets(values.of(units).values, values.of(units).won)
        chosen = torch.tensor([places[kept[unit][0].description] for unit in tested], device=units.device)
        rivals = best_predictors(targets[halves.choosing], space.image_embeddings[halves.choosing], phrases)
        same = same_names(chosen, rivals, space.names, phrases)
        found = evaluate_names(
            Observations(halves.judged(targets), halves.judged(space.image_embeddings), halves.strata),
            phrases,
            chosen=chosen,
            rivals=torch.where(same, chosen, rivals),
            names=space.names,
        )
        evidence = dict(zip(tested, found, strict=True))
    return descriptions(record, summary, kept, evidence, least_r)


def descriptions(
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
                margin=_margin(names),
                evidence=found,
            )
        )
    return tuple(described)


def _margin(names: tuple[Candidate, ...]) -> float | None:
    """By how much the first is more similar than the next of the same method: others have scales of their own."""
    own = [name.similarity for name in names if name.method == names[0].method]
    return own[0] - own[1] if len(own) > 1 else None


def _wins(record: LayerRecord) -> tuple[list[float] | None, list[float] | None]:
    """Of each unit over all images and positions: share won, and mean value there."""
    if record.win_rate is None or record.value_when_winning is None:
        return None, None
    total = record.win_rate.double().sum(0)
    weighted = (record.value_when_winning.double() * record.win_rate.double()).sum(0)
    means: Float[Tensor, units] = torch.where(total > 0, weighted / total.clamp(min=1e-12), 0.0)
    return record.win_rate.double().mean(0).tolist(), means.tolist()
