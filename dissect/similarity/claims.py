"""Which name is a unit's own: how far its images lean towards a concept, and how much of that name other units claim.

Ours, and the default. What holds soft-WPMI back, and the answer to each (figures: docs/describing.md):

* a concept that lies near all images, or near all texts, fits every unit: images and texts are centred;
* a concept that varies much from image to image wins by chance: its lean is divided by that spread;
* related concepts rise and fall together: what they share counts less than what tells them apart;
* a fixed count of top images is wrong for a class of 1 image and for one of 50: the activation itself weighs;
* a name that fits many units is no unit's own: the units share out each name, and the score is the share.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import active_images, has_support

TILT = 0.7  # of the weights: e^.7 = 2 to 1 for a standard deviation near a unit's greatest activation, more below
RIDGE = 0.03  # of the typical variance: directions of the concepts that the images hardly vary in stay as they are
SHARPNESS = 2.5  # of the softmax over standard scores: a lead of one standard deviation is odds of e^2.5 = 12 to 1
FREE = 0.3  # so much claim on a name costs nothing: few units, or names that hardly anyone claims, change nothing


def claims(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    tilt: float = TILT,
    sharpness: float = SHARPNESS,
) -> Float[Tensor, "units concepts"]:
    """log of a unit's claim on a name, less the log of all units' claims on it (`prior`, by `claims_and_prior`).

        P    = images @ concepts, both centred;  S = P'P / images;  s = RIDGE tr(S S) / tr S
        R    = P (1 + S / s)^-1/4                what each concept says beside its relatives
        u_xk = max(0, q_xk - mean q_k) / std q_k,   over the images that count: those won, or above the smallest value
        w_xk = (u_xk / max u_k)^(tilt max u_k) / sum
        z_km = sum_x w_xk R_xm / sqrt(mean_x R_xm^2)
        a_k  = softmax_m(sharpness (z_km - mean_m z_k) / std_m z_k)
        score_km = log a_km - prior_m,           prior_m = log(FREE + sum_k a_km)

    A text is trained to be a classifier's weight. Were the images of its concept to lie along covariance times text
    (Haufe et al. 2014, eq. 6), P would be the thing to match; were they to lie along the text, P S^-1/2, which is
    whitened. They lie between (`benchmarks/similarity.py`), and so does R. Dividing by all claims is the inverted
    softmax against hubs (Smith et al. 2017, eq. 4).
    """
    scores = _log_claims(activations, images, concepts, won, tilt, sharpness)
    return _share(scores, has_support(activations, won), prior)[0]


def claims_and_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"]]:
    """`claims` of a whole layer, and its prior: how much each name is claimed over all units with support."""
    scores = _log_claims(activations, images, concepts, won, TILT, SHARPNESS)
    return _share(scores, has_support(activations, won), None)


def _log_claims(
    activations: Tensor, images: Tensor, concepts: Tensor, won: Tensor | None, tilt: float, sharpness: float
) -> Float[Tensor, "units concepts"]:
    """log a, the only array of units x concepts: all else works in place, and P is not formed."""
    texts = concepts.float() - concepts.float().mean(0)
    centred = images.float() - images.float().mean(0)
    centred = centred @ _apart(centred, texts)
    texts /= _spread(centred, texts)[:, None]
    scores = _directions(activations, centred, won, tilt) @ texts.T
    scores -= scores.mean(1, keepdim=True)
    deviation = torch.linalg.vector_norm(scores, dim=1, keepdim=True) / len(concepts) ** 0.5
    scores *= sharpness / deviation.clamp(min=1e-6)
    scores -= scores.logsumexp(1, keepdim=True)
    return scores


def _apart(centred: Float[Tensor, "images dim"], texts: Float[Tensor, "concepts dim"]) -> Float[Tensor, "dim dim"]:
    """The matrix A with P (1 + S / s)^-1/4 = centred @ A @ texts.T.

    S = B B' with B = texts @ H and H H' the images' covariance, and a function f of it with f(0) = 1 is
    1 + B g(B'B) B', g(e) = (f(e) - 1) / e: one eigenvalue problem, in the embedding or in the images, whichever is
    smaller. It depends on P alone, so that a known score matrix gives the same.
    """
    few, dim = centred.shape
    eye = torch.eye(dim, dtype=torch.float64, device=centred.device)
    gram = (texts.T @ texts).double()
    if few < dim:
        root = centred.T.double() / few**0.5
    else:
        values, vectors = torch.linalg.eigh((centred.T @ centred).double() / few)
        root = vectors * values.clamp(min=0).sqrt()  # not Cholesky's: rounding leaves some below 0
    values, vectors = torch.linalg.eigh(root.T @ gram @ root)
    values = values.clamp(min=0)
    if not values.any():  # no concept says anything of any image
        return eye.float()
    scale = RIDGE * values.square().sum() / values.sum()
    values = values.clamp(min=1e-9 * scale)
    shrink = torch.expm1(-0.25 * torch.log1p(values / scale)) / values
    inner = root @ (vectors * shrink) @ vectors.T @ root.T
    return (eye + gram @ inner).float().contiguous()


def _directions(
    activations: Tensor, centred: Float[Tensor, "images dim"], won: Tensor | None, tilt: float
) -> Float[Tensor, "units dim"]:
    """sum_x w x, some units at a time. A unit whose images that count are all alike weighs them alike."""
    directions = torch.empty(activations.shape[1], centred.shape[1], device=centred.device)
    tiny = torch.finfo(torch.float32).tiny
    size = max(1, 2**20 // max(1, len(centred)))
    for start in range(0, len(directions), size):
        units = slice(start, start + size)
        values = activations[:, units].float()
        counted = active_images(values, None if won is None else won[:, units]).float()
        number = counted.sum(0).clamp(min=1)
        excess = (values - (values * counted).sum(0) / number).mul_(counted)
        deviation = torch.linalg.vector_norm(excess, dim=0) / number.sqrt()
        highest = excess.amax(0).clamp(min=0)
        weights = (excess.clamp_(min=0) / highest.clamp(min=tiny)) ** (tilt * highest / deviation.clamp(min=tiny))
        weights = torch.where(highest > 0, weights * counted, counted)
        directions[units] = (weights / weights.sum(0).clamp(min=1)).T @ centred
    return directions


def _spread(centred: Float[Tensor, "images dim"], texts: Float[Tensor, "concepts dim"]) -> Float[Tensor, "concepts"]:
    """The standard deviation of each concept's column over the images, from their covariance."""
    covariance = (centred.T @ centred).double() / len(centred)
    return (
        torch.cat([((c.double() @ covariance) * c).sum(1) for c in texts.split(4096)]).clamp(min=1e-12).sqrt().float()
    )


def _share(log_claims: Tensor, supported: Bool[Tensor, "units"], prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is left of each claim when all claims are taken from it, in place; and those."""
    prior = _demand(log_claims, supported) if prior is None else prior.to(log_claims)
    log_claims -= prior
    log_claims[~supported] = 0.0
    return log_claims, prior


def _demand(log_claims: Float[Tensor, "units concepts"], supported: Bool[Tensor, "units"]) -> Float[Tensor, "concepts"]:
    demand = torch.full_like(log_claims[0], FREE)
    for rows in torch.arange(len(log_claims), device=supported.device)[supported].split(64):
        demand += log_claims[rows].exp().sum(0)
    return demand.log()
