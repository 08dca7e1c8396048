"""How good the descriptions of a dissection are: on other images, against mismatched names, against the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..explaining.find_units import answers_of
from ..folder.dissection import Dissection
from ..naming.description import Description
from ..naming.evidence import FALSE_DISCOVERIES
from ..naming.halves import halve
from ..naming.permutation_test import benjamini_hochberg, permutation_p_values
from ..naming.predictability import correlation
from ..naming.synonyms import plain_form
from .truth import Agreement, agreement


@dataclass(frozen=True)
class Control:
    """Mismatched units, a control beside the null: each judged unit with the name of another.

    `predictability` is their mean correlation on the judging half, `significant` the share that the null alone would
    have let pass at the same level, `own_is_better` the share of units whose own name predicts them better.
    """

    predictability: float
    significant: float
    own_is_better: float


@dataclass(frozen=True)
class LayerQuality:
    """The descriptions of one layer. Means are over the judged units; NaN where there are none.

    `outcomes` counts units by `Description.outcome`. `predictability` and `precision` are of the judged names (the best
    candidates, named or not) under the same encoder, `named_predictability` of those that became names. `truth` is over
    the names, where the truth is known.
    """

    layer: str
    outcomes: Mapping[str, int]
    distinct: int
    predictability: float
    named_predictability: float
    precision: float
    control: Control | None
    truth: Agreement | None = None

    @property
    def units(self) -> int:
        return sum(self.outcomes.values())


def judge_descriptions(
    dissection: Dissection, *, truth: Mapping[str, Int[Tensor, "images"]] | None = None
) -> tuple[LayerQuality, ...]:
    """The quality of each layer's descriptions.

    Args:
        truth: for each name, on which probe images it is true (1), false (0), or nobody can say (-1).
    """
    return tuple(_layer(dissection, layer, truth) for layer in dissection.layers)


def mismatch(names: Sequence[str], *, seed: int = 0) -> list[int]:
    """For each unit another one with another name (not its plural), by seed; itself where there is none.

    >>> mismatch(["boat", "sun"]), mismatch(["boat", "boats"])
    ([1, 0], [0, 1])
    """
    plain = [plain_form(name) for name in names]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    place = {unit: i for i, unit in enumerate(order)}
    others = []
    for unit in range(len(names)):
        around = order[place[unit] + 1 :] + order[: place[unit]]
        others.append(next((other for other in around if plain[other] != plain[unit]), unit))
    return others


def _layer(dissection: Dissection, layer: str, truth: Mapping[str, Tensor] | None) -> LayerQuality:
    units = [dissection.description(layer, unit) for unit in range(dissection.units(layer))]
    evidence = [unit.evidence for unit in units if unit.evidence]
    named = [unit for unit in units if unit.named]
    targets = answers_of(dissection, layer)
    return LayerQuality(
        layer=layer,
        outcomes=dissection.outcomes(layer),
        distinct=len({unit.description for unit in named}),
        predictability=_mean([one.predictability for one in evidence]),
        named_predictability=_mean([unit.evidence.predictability for unit in named if unit.evidence]),
        precision=_mean([one.precision for one in evidence]),
        control=_control(dissection, [unit for unit in units if unit.evidence], targets),
        truth=None if truth is None else agreement(named, targets, truth),
    )


def _control(
    dissection: Dissection, judged: Sequence[Description], targets: Float[Tensor, "images units"]
) -> Control | None:
    if not judged:
        return None
    space = dissection.space()
    halves = halve(space.image_embeddings, blocks=dissection.manifest.get("blocks"))
    index = {name: i for i, name in enumerate(space.names)}
    names = [unit.candidates[0].description for unit in judged]
    others = space.concept_embeddings[[index[names[i]] for i in mismatch(names)]]
    values = halves.judged(targets[:, [unit.unit for unit in judged]])
    scores = halves.judged(space.image_embeddings) @ others.double().T
    r = correlation(values, scores)
    q = benjamini_hochberg(permutation_p_values(values, scores, strata=halves.strata))
    own = torch.tensor([unit.evidence.predictability for unit in judged if unit.evidence], dtype=torch.float64)
    return Control(float(r.mean()), float((q <= FALSE_DISCOVERIES).double().mean()), float((own > r).double().mean()))


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else float("nan")
