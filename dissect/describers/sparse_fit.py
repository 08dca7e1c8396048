"""A signal as a sum of few concept scores, none with a negative weight: orthogonal matching pursuit over all images."""

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..naming.permutation_test import standardised
from ..naming.predictability import best_predictors

_SWEEPS = 100  # of coordinate descent: a handful of weights has settled long before
_BUDGET = 2**22  # numbers at a time


@dataclass(frozen=True)
class SparseFit:
    """Of each unit the concepts in the order in which they came in, their weights (of standardised scores, for a
    standardised unit; 0 where there are fewer), and the share of its variance that they explain together."""

    concepts: Int[Tensor, "units terms"]
    weights: Float[Tensor, "units terms"]
    explained: Float[Tensor, "units"]


def sparse_fit(
    targets: Float[Tensor, "images units"],
    image_embeddings: Float[Tensor, "images dim"],
    concept_embeddings: Float[Tensor, "concepts dim"],
    *,
    terms: int = 5,
    first: Int[Tensor, "units"] | None = None,
) -> SparseFit:
    """Non-negative orthogonal matching pursuit: at each step the concept whose score correlates best with what is left.

        y ~ sum_j w_j s_j,  w >= 0;   s_j the score of concept j on every image, s and y standardised

    All weights are fitted again after each step. A further concept comes in if it explains more of what is left than
    the best of M concepts that mean nothing would: 2 ln M / n of it (the largest of M squared correlations over n
    images). The first one always comes in: `first`, or the concept that correlates best.
    """
    y = standardised(targets)
    images, units = y.shape
    concepts = torch.zeros(units, terms, dtype=torch.int64, device=y.device)
    weights = torch.zeros(units, terms, dtype=torch.float64, device=y.device)
    explained = torch.zeros(units, dtype=torch.float64, device=y.device)
    growing = y.square().sum(0) > 0
    chance = 2 * log(max(2, len(concept_embeddings))) / images
    left = y
    for step in range(terms):
        given = first if step == 0 else None
        found = best_predictors(left, image_embeddings, concept_embeddings) if given is None else given
        tried = concepts.clone()
        tried[:, step] = found
        fitted = _weighed(y, image_embeddings, concept_embeddings, tried[:, : step + 1])
        gained = (fitted.explained - explained) / (1 - explained).clamp(min=1e-12)
        growing = growing & ((gained > chance) if step else True)
        concepts = torch.where(growing[:, None], tried, concepts)
        weights[:, : step + 1] = torch.where(growing[:, None], fitted.weights, weights[:, : step + 1])
        explained = torch.where(growing, fitted.explained, explained)
        left = torch.where(growing, fitted.left, 0.0)
        if not growing.any():
            break
    return SparseFit(concepts, weights, explained)


@dataclass(frozen=True)
class _Fitted:
    weights: Float[Tensor, "units terms"]
    explained: Float[Tensor, "units"]
    left: Float[Tensor, "images units"]


def _weighed(
    y: Float[Tensor, "images units"],
    image_embeddings: Float[Tensor, "images dim"],
    concept_embeddings: Float[Tensor, "concepts dim"],
    concepts: Int[Tensor, "units terms"],
) -> _Fitted:
    """Each unit's concepts, weighed by least squares without negative weights; some units at a time."""
    weights, left = [], torch.empty_like(y)
    for some in torch.arange(y.shape[1], device=y.device).split(max(1, _BUDGET // max(1, len(y) * concepts.shape[1]))):
        scores = image_embeddings.double() @ concept_embeddings[concepts[some].flatten()].double().T
        columns = standardised(scores).unflatten(1, concepts[some].shape)  # images x units x terms
        gram = torch.einsum("xut,xus->uts", columns, columns)
        found = _non_negative(gram, torch.einsum("xut,xu->ut", columns, y[:, some]))
        left[:, some] = y[:, some] - torch.einsum("xut,ut->xu", columns, found)
        weights.append(found)
    return _Fitted(torch.cat(weights), 1 - left.square().sum(0), left)


def _non_negative(
    gram: Float[Tensor, "units terms terms"], products: Float[Tensor, "units terms"]
) -> Float[Tensor, "units terms"]:
    """min w' G w / 2 - c' w over w >= 0, by coordinate descent."""
    weights = torch.zeros_like(products)
    for _ in range(_SWEEPS):
        for term in range(products.shape[1]):
            own = gram[:, term, term].clamp(min=1e-12)
            rest = (gram[:, term] * weights).sum(1) - gram[:, term, term] * weights[:, term]
            weights[:, term] = ((products[:, term] - rest) / own).clamp(min=0)
    return weights


def raised(values: Float[Tensor, "pictures units"], carry: Bool[Tensor, "pictures units"]) -> Bool[Tensor, "units"]:
    """Whether a unit's mean over the pictures that carry its concept is above that over the others, by 1.645 standard
    errors of the difference (Welch's; one-sided, 5 %)."""
    x, n = values.double(), torch.stack([carry.sum(0), (~carry).sum(0)]).double()
    masks = torch.stack([carry, ~carry]).double()
    means = (masks * x).sum(1) / n.clamp(min=1)
    variances = (masks * (x - means[:, None]) ** 2).sum(1) / (n - 1).clamp(min=1)
    error = (variances / n.clamp(min=1)).sum(0).sqrt()
    return (n.amin(0) >= 2) & (means[0] - means[1] > 1.645 * error) & (means[0] > means[1])
