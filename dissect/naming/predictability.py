"""How well a concept's score predicts a unit: correlation with an interval, and precision on the unit's top images."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..similarity.support import chunks
from .permutation_test import standardised

LEVEL = 0.95
RESAMPLES = 500
TOP_SHARE = 0.05  # of the images: those that a unit is said to pick out; also the precision that chance reaches
_GROUPS = 1024
_BUDGET = 2**22  # numbers at a time


def prediction_targets(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None
) -> Float[Tensor, "images units"]:
    """What a concept has to predict: the activations, a loser's 0 put below the lowest winner.

    Where a unit's lowest winning value is v < 0 its losses count as 2 v (else as 0): it speaks where it wins, whatever
    the sign.
    """
    if won is None:
        return activations.float()
    lowest = activations.float().masked_fill(~won, 0.0).amin(0)  # at most 0 where anything was lost
    return torch.where(won, activations.float(), 2 * lowest.clamp(max=0))


def correlation(
    activations: Float[Tensor, "images units"], scores: Float[Tensor, "images units"]
) -> Float[Tensor, "units"]:
    """Pearson's correlation of each unit's activations with its scores; 0 where either is constant."""
    return (standardised(activations) * standardised(scores)).sum(0)


def bootstrap(
    activations: Float[Tensor, "images units"],
    scores: Float[Tensor, "images units"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float[Tensor, "resamples units"]:
    """Fisher's z (atanh) of `correlation` on images drawn with replacement: the same draws for all units.

    Many images are first put into 1,024 groups at random, which are then drawn: their number no longer counts.
    """
    n, k = activations.shape
    generator = torch.Generator().manual_seed(seed)
    groups = min(n, _GROUPS)
    group = (torch.arange(n) % groups)[torch.randperm(n, generator=generator)].to(scores.device)
    drawn = torch.randint(groups, (resamples, groups), generator=generator)
    weights = torch.zeros(resamples, groups).scatter_add_(1, drawn, torch.ones(resamples, groups)).to(scores.device)
    counts = (weights @ group.bincount(minlength=groups).float())[:, None].double()
    found = torch.empty(resamples, k, dtype=torch.float64, device=scores.device)
    for units in torch.arange(k, device=scores.device).split(max(1, _BUDGET // max(n, resamples))):
        x, y = standardised(activations[:, units]) * n**0.5, standardised(scores[:, units]) * n**0.5
        moments = torch.stack([x, y, x * x, y * y, x * y]).float()
        sums = moments.new_zeros(5, groups, len(units)).index_add_(1, group, moments)
        mx, my, mxx, myy, mxy = ((weights @ part).double() / counts for part in sums)
        scale = ((mxx - mx * mx).clamp(min=0) * (myy - my * my).clamp(min=0)).sqrt()
        found[:, units] = fisher((mxy - mx * my) / scale.clamp(min=1e-9))
    return found


def interval(
    r: Float[Tensor, "units"], drawn: Float[Tensor, "resamples units"], *, level: float = LEVEL
) -> tuple[Float[Tensor, "units"], Float[Tensor, "units"]]:
    """Between which values the correlation lies at this level: normal in Fisher's z, with the standard error of the
    bootstrap's draws (Efron & Tibshirani 1993, sec. 12.6)."""
    half = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + level) / 2)).item() * drawn.std(0)
    return (fisher(r) - half).tanh(), (fisher(r) + half).tanh()


def fisher(r: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Fisher's z of a correlation; |r| = 1 stays finite."""
    return r.clamp(-0.9999, 0.9999).atanh()


def best_predictors(
    answers: Float[Tensor, "images units"], images: Float[Tensor, "images dim"], concepts: Float[Tensor, "concepts dim"]
) -> Int[Tensor, "units"]:
    """For each unit the concept whose score correlates most with it; from the embeddings, P is never formed."""
    wide = images.double() - images.double().mean(0)
    products, gram = standardised(answers).T @ wide, wide.T @ wide
    best = torch.full((len(products),), -torch.inf, dtype=torch.float64, device=images.device)
    where = torch.zeros(len(products), dtype=torch.int64, device=images.device)
    for piece, chunk in chunks(concepts, rows=len(products)):
        t = chunk.double()
        length = ((t @ gram) * t).sum(1).clamp(min=1e-12).sqrt()
        values, indices = ((products @ t.T) / length).max(1)
        where = torch.where(values > best, indices + piece.start, where)
        best = torch.maximum(best, values)
    return where


def top_precision(
    activations: Float[Tensor, "images units"], scores: Float[Tensor, "images units"], *, share: float = TOP_SHARE
) -> Float[Tensor, "units"]:
    """Average precision (AUPRC) of finding a unit's top images by the concept's score; chance gives about `share`.

    The top images are the `share` with the highest activations, only those above the unit's smallest value; 0 where
    there are none.
    """
    top = activations.topk(max(1, round(share * len(activations))), dim=0)
    speaks = top.values > activations.amin(0)
    return average_precision(scores, torch.zeros_like(activations, dtype=torch.bool).scatter_(0, top.indices, speaks))


def average_precision(
    scores: Float[Tensor, "images units"], positive: Bool[Tensor, "images units"]
) -> Float[Tensor, "units"]:
    """The mean over the positive images of the precision among those with at least their score; ties in the order they
    stand, 0 without positives."""
    hit = positive.gather(0, scores.argsort(dim=0, descending=True, stable=True))
    precision = hit.cumsum(0) / torch.arange(1, len(hit) + 1, device=hit.device)[:, None]
    return ((precision * hit).sum(0) / hit.sum(0).clamp(min=1)).double()
