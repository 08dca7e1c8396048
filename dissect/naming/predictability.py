"""How well a concept's score predicts a unit: correlation with an interval, and precision on the unit's top images."""

from collections.abc import Callable

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
_LEAST_KEPT = 0.05  # of a correlation: concepts that follow no unit keep their order


def prediction_targets(
    activations: Float[Tensor, "images units"],
    won: Bool[Tensor, "images units"] | None,
    *,
    lost: Float[Tensor, "units"] | None = None,
) -> Float[Tensor, "images units"]:
    """What a concept has to predict: the activations, and what losing counts (`lost`, by default by these images)."""
    if won is None:
        return activations.float()
    return torch.where(won, activations.float(), worth_of_losing(activations, won) if lost is None else lost)


def worth_of_losing(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"]
) -> Float[Tensor, "units"]:
    """Below the lowest winner: where a unit's lowest winning value is v < 0 its losses count as 2 v (else as 0): it
    speaks where it wins, whatever the sign."""
    lowest = activations.float().masked_fill(~won, 0.0).amin(0)  # at most 0 where anything was lost
    return 2 * lowest.clamp(max=0)


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
    targets: Float[Tensor, "images units"],
    image_embeddings: Float[Tensor, "images dim"],
    concept_embeddings: Float[Tensor, "concepts dim"],
    *,
    shrunk: bool = False,
) -> Int[Tensor, "units"]:
    """For each unit the concept whose score correlates most with it; from the embeddings, P is never formed.

    `shrunk`: most likely does so on other images too. Over the layer a concept's correlations have a mean square of
    v + 1 / n, of which 1 / n is chance; each counts v / (v + 1 / n) (empirical Bayes: Efron & Morris 1973). A concept
    that follows no unit of the layer follows this one by luck.
    """
    centred = image_embeddings.double() - image_embeddings.double().mean(0)
    products, gram = standardised(targets).T @ centred, centred.T @ centred
    best = torch.full((len(products),), -torch.inf, dtype=torch.float64, device=products.device)
    where = torch.zeros(len(products), dtype=torch.int64, device=products.device)
    for piece, chunk in chunks(concept_embeddings, rows=len(products)):
        t = chunk.double()
        length = ((t @ gram) * t).sum(1).clamp(min=1e-12).sqrt()
        r = (products @ t.T) / length
        if shrunk:
            square = r.square().mean(0).clamp(min=1e-12)
            r *= (1 - 1 / len(targets) / square).clamp(min=_LEAST_KEPT)
        values, indices = r.max(1)
        where = torch.where(values > best, indices + piece.start, where)
        best = torch.maximum(best, values)
    return where


def top_precision(
    activations: Float[Tensor, "images units"], scores: Float[Tensor, "images units"], *, share: float = TOP_SHARE
) -> Float[Tensor, "units"]:
    """AUPRC of finding a unit's top images by the concept's score.

    The top images are the `share` with the highest activations and all that tie with the last of them, only those above
    the unit's smallest value. Chance gives their share; 0 where there are none.
    """
    last = activations.topk(max(1, round(share * len(activations))), dim=0).values[-1]
    return average_precision(scores, (activations >= last) & (activations > activations.amin(0)))


def average_precision(
    scores: Float[Tensor, "images units"], positive: Bool[Tensor, "images units"]
) -> Float[Tensor, "units"]:
    """AUPRC of each column, images of the same score counted together; 0 without positives."""
    from torchmetrics.functional.classification import multilabel_average_precision  # seconds to import

    return _of_columns(multilabel_average_precision, scores, positive, positive.any(0), missing=0.0)


def auroc(scores: Float[Tensor, "images units"], positive: Bool[Tensor, "images units"]) -> Float[Tensor, "units"]:
    """The chance that a positive image has a higher score than another, ties count half; NaN without both kinds.

    >>> auroc(torch.tensor([[0.1], [0.4], [0.4], [0.9]]), torch.tensor([[False], [True], [False], [True]])).item()
    0.875
    """
    from torchmetrics.functional.classification import multilabel_auroc

    return _of_columns(multilabel_auroc, scores, positive, positive.any(0) & ~positive.all(0), missing=float("nan"))


def _of_columns(
    metric: Callable[..., Tensor], scores: Tensor, positive: Tensor, known: Tensor, missing: float
) -> Tensor:
    """A metric of torchmetrics for the columns where it is known; scores go in as ranks, since it takes numbers outside
    0 to 1 for logits, and equal ones become equal."""
    found = torch.full((scores.shape[1],), missing, dtype=torch.float64, device=scores.device)
    if known.any():
        values, order = scores[:, known].sort(dim=0)
        steps = torch.nn.functional.pad((values.diff(dim=0) != 0).cumsum(0), (0, 0, 1, 0)) / len(scores)
        ranks = torch.empty_like(steps).scatter_(0, order, steps)
        options = {"num_labels": ranks.shape[1], "average": None, "validate_args": False}
        found[known] = metric(ranks, positive[:, known].long(), **options).double()
    return found
