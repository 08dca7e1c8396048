"""Which name is a unit's own: how far its images lean towards a concept, and how much of that name other units claim.

Ours, and the default. What holds soft-WPMI back, and the answer to each (figures: docs/describing.md):

* a concept that lies near all images, or near all texts, fits every unit: images and texts are centred;
* a concept that varies much from image to image wins by chance: its lean is divided by that spread;
* a fixed count of top images is wrong for a class of 1 image and for one of 50: the activation itself weighs;
* a name that fits many units is no unit's own: the units share out each name, and the score is the share.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import speaking, supported

POWER = 5.0  # of the excess over a unit's mean: at half of its greatest excess an image weighs 3 %
SHARPNESS = 4.0  # of the softmax over standard scores: a lead of one standard deviation is odds of e^4 = 55 to 1
FREE = 0.1  # so much claim on a name costs nothing: few units, or names that hardly anyone claims, change nothing


def claims(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    power: float = POWER,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "units concepts"]:
    """log of a unit's claim on a name, less the log of all units' claims on it (`prior`, by `claims_and_prior`).

        w_xk = max(0, q_xk - mean q_k)^power / sum,   over the images that count: those won, or above the smallest value
        d_k  = sum_x w_xk x - mean x                  how a unit's images differ from all images
        z_km = d_k.c_m / sqrt(mean_x ((x - mean x).c_m)^2),   c_m = t_m - mean t
        a_k  = softmax_m(sharpness (z_km - mean_m z_k) / std_m z_k)
        score_km = log a_km - prior_m,                prior_m = log(FREE + sum_k a_km)

    A text is trained to be a classifier's weight, so the images of its concept differ from the others along
    covariance times c, not along c (Haufe et al. 2014, eq. 6), and in the images' own metric the cosine of that with
    d is z. Dividing by all claims is the inverted softmax against hubs (Smith et al. 2017, eq. 4).
    """
    scores = _log_claims(activations, images, concepts, won, power, sharpness)
    return _share(scores, supported(activations, won), prior)[0]


def claims_and_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"]]:
    """`claims` of a whole layer, and its prior: how much each name is claimed over all units with support."""
    scores = _log_claims(activations, images, concepts, won, POWER, SHARPNESS)
    return _share(scores, supported(activations, won), None)


def _log_claims(
    activations: Tensor, images: Tensor, concepts: Tensor, won: Tensor | None, power: float, sharpness: float
) -> Float[Tensor, "units concepts"]:
    """log a, the only array of units x concepts: all else works in place, and P is not formed."""
    centred = images.float() - images.float().mean(0)
    texts = concepts.float() - concepts.float().mean(0)
    texts /= _spread(centred, texts)[:, None]
    scores = _directions(activations, centred, won, power) @ texts.T
    scores -= scores.mean(1, keepdim=True)
    deviation = torch.linalg.vector_norm(scores, dim=1, keepdim=True) / len(concepts) ** 0.5
    scores *= sharpness / deviation.clamp(min=1e-6)
    scores -= scores.logsumexp(1, keepdim=True)
    return scores


def _directions(
    activations: Tensor, centred: Float[Tensor, "images dim"], won: Tensor | None, power: float
) -> Float[Tensor, "units dim"]:
    """d, some units at a time. A unit whose images that count are all alike weighs them alike."""
    directions = torch.empty(activations.shape[1], centred.shape[1], device=centred.device)
    size = max(1, 2**20 // max(1, len(centred)))
    for start in range(0, len(directions), size):
        units = slice(start, start + size)
        values = activations[:, units].float()
        counted = speaking(values, None if won is None else won[:, units]).float()
        mean = (values * counted).sum(0) / counted.sum(0).clamp(min=1)
        excess = (values - mean).clamp_(min=0).mul_(counted)
        excess /= excess.amax(0).clamp(min=torch.finfo(torch.float32).tiny)
        weights = torch.where(excess.amax(0) > 0, excess**power, counted)
        directions[units] = (weights / weights.sum(0).clamp(min=1)).T @ centred
    return directions


def _spread(centred: Float[Tensor, "images dim"], texts: Float[Tensor, "concepts dim"]) -> Float[Tensor, "concepts"]:
    """The standard deviation of each concept's centred P over the images, from their covariance."""
    covariance = (centred.T @ centred).double() / len(centred)
    return (
        torch.cat([((c.double() @ covariance) * c).sum(1) for c in texts.split(4096)]).clamp(min=1e-12).sqrt().float()
    )


def _share(log_claims: Tensor, speaks: Bool[Tensor, "units"], prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is left of each claim when all claims are taken from it, in place; and those."""
    prior = _demand(log_claims, speaks) if prior is None else prior.to(log_claims)
    log_claims -= prior
    log_claims[~speaks] = 0.0
    return log_claims, prior


def _demand(log_claims: Float[Tensor, "units concepts"], speaks: Bool[Tensor, "units"]) -> Float[Tensor, "concepts"]:
    demand = torch.full_like(log_claims[0], FREE)
    for rows in torch.arange(len(log_claims), device=speaks.device)[speaks].split(64):
        demand += log_claims[rows].exp().sum(0)
    return demand.log()
