"""Which name is a unit's own: what its images have beside all others, and how much of that name other units claim.

Ours, and the default. What holds soft-WPMI back, and the answer to each (figures: docs/describing.md):

* a concept that lies near all images, or near all texts, fits every unit: images and texts are centred;
* what many images share says little about any unit: the unit is regressed on the images, not averaged over them;
* a concept that varies much from image to image wins by chance: its score is divided by that spread;
* a fixed count of top images is wrong for a class of 1 image and for one of 50: the activation itself weighs;
* a name that fits many units is no unit's own: the units share out each name, and the score is the share.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import active_images, has_support

FEW = 100  # of the weights: up to 400 images count as they are, 1,600 by their squares, 6,400 by their cubes
SHARPNESS = 2.5  # of the softmax over standard scores: a lead of one standard deviation is odds of e^2.5 = 12 to 1
FREE = 0.1  # so much claim on a name costs nothing: few units, or names that hardly anyone claims, change nothing


def claims(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "units concepts"]:
    """log of a unit's claim on a name, less the log of all units' claims on it (`prior`, by `claims_and_prior`).

        u_xk = max(0, q_xk - mean q_k) ^ max(1, log4(n_k / FEW)),   over the n_k images that count: those won, or above
                                                                    the smallest value
        d_k  = (1 + C / s)^-1 sum_x u_xk I_x / sum_x u_xk           C covariance of the images I;  s = tr(C C) / tr C
        z_km = d_k . t_m / std_x(I_x (1 + C / s)^-1 t_m)            t texts; I and t centred
        a_k  = softmax_m(sharpness (z_km - mean_m z_k) / std_m z_k)
        score_km = log a_km - prior_m,           prior_m = log(FREE + sum_k a_km)

    d_k is the ridge regression of u_k on the images, up to a factor: of directions in which all images vary it takes
    what is left when the others are known (Haufe et al. 2014). Its penalty s is the typical variance of a direction
    that matters. The more images there are, the fewer of a unit's best are enough to outweigh the noise: with few, the
    whole range counts (`benchmarks/photographs.py`, `benchmarks/similarity.py`). Dividing by all claims is the inverted
    softmax against hubs (Smith et al. 2017, eq. 4).
    """
    scores = log_claims(activations, images, concepts, won=won, sharpness=sharpness)
    return _share(scores, has_support(activations, won), prior)[0]


def claims_and_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"]]:
    """`claims` of a whole layer, and its prior: how much each name is claimed over all units with support."""
    scores = log_claims(activations, images, concepts, won=won)
    return _share(scores, has_support(activations, won), None)


def log_claims(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "units concepts"]:
    """log a, the only array of units x concepts: all else works in place, and P is not formed."""
    texts = concepts.float() - concepts.float().mean(0)
    centred = images.float() - images.float().mean(0)
    centred = centred @ _regression(centred)
    texts /= _spread(centred, texts)[:, None]
    scores = _directions(activations, centred, won) @ texts.T
    scores -= scores.mean(1, keepdim=True)
    deviation = torch.linalg.vector_norm(scores, dim=1, keepdim=True) / len(concepts) ** 0.5
    scores *= sharpness / deviation.clamp(min=1e-6)
    scores -= scores.logsumexp(1, keepdim=True)
    return scores


def _regression(centred: Float[Tensor, "images dim"]) -> Float[Tensor, "dim dim"]:
    """(1 + C / s)^-1; the identity where all images are alike."""
    covariance = (centred.T @ centred).double() / len(centred)
    eye = torch.eye(len(covariance), dtype=torch.float64, device=centred.device)
    scale = covariance.square().sum() / covariance.trace()
    return torch.linalg.inv(eye + covariance / scale).float() if scale > 0 else eye.float()


def _directions(
    activations: Tensor, centred: Float[Tensor, "images dim"], won: Tensor | None
) -> Float[Tensor, "units dim"]:
    """sum_x u x / sum_x u, some units at a time. A unit whose images that count are all alike weighs them alike."""
    directions = torch.empty(activations.shape[1], centred.shape[1], device=centred.device)
    for units in torch.arange(len(directions), device=centred.device).split(max(1, 2**20 // max(1, len(centred)))):
        values = activations[:, units].float()
        counted = active_images(values, None if won is None else won[:, units]).float()
        number = counted.sum(0).clamp(min=1)
        excess = (values - (values * counted).sum(0) / number).mul_(counted).clamp_(min=0)
        highest = excess.amax(0)
        power = ((number / FEW).log2() / 2).clamp(min=1)
        weights = (excess / highest.clamp(min=torch.finfo(torch.float32).tiny)) ** power
        weights = torch.where(highest > 0, weights, counted)
        directions[units] = (weights / weights.sum(0).clamp(min=1)).T @ centred
    return directions


def _spread(centred: Float[Tensor, "images dim"], texts: Float[Tensor, "concepts dim"]) -> Float[Tensor, "concepts"]:
    """The standard deviation of each concept's column over the images, from their covariance."""
    covariance = (centred.T @ centred).double() / len(centred)
    variances = [((chunk.double() @ covariance) * chunk).sum(1) for chunk in texts.split(4096)]
    return torch.cat(variances).clamp(min=1e-12).sqrt().float()


def _share(scores: Tensor, supported: Bool[Tensor, "units"], prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is left of each claim when all claims are taken from it, in place; and those."""
    prior = demand(scores, supported) if prior is None else prior.to(scores)
    scores -= prior
    scores[~supported] = 0.0
    return scores, prior


def demand(
    logs: Float[Tensor, "units concepts"], supported: Bool[Tensor, "units"], *, rounds: int = 1
) -> Float[Tensor, "concepts"]:
    """log(FREE + sum of all claims on each name); with more `rounds`, what is left is shared out again (Sinkhorn 1967).

    One round is for units that may share a meaning. More drive them apart: right where each has one of its own, wrong
    for hidden ones (`benchmarks/similarity.py`).
    """
    prior = torch.zeros_like(logs[0])
    for _ in range(rounds):
        claimed = torch.full_like(prior, FREE)
        for rows in torch.arange(len(logs), device=supported.device)[supported].split(64):
            claimed += (logs[rows] - prior).softmax(1).sum(0)
        prior += claimed.log()
    return prior
