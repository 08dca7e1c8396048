"""Weighted pointwise mutual information of a concept and the images that a unit likes most."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from competition_layers.names import nearest

from .support import chunks, supported, top_images

# CLIP-Dissect's code 21e7697, for `wpmi` and `soft_wpmi`
_HARD_TOP, _HARD_SCALE, _HARD_STRENGTH = 28, 2.0, 0.6
_SOFT_TOP, _SOFT_SCALE, _SOFT_STRENGTH = 100, 10.0, 1.0
_START, _END, _MIN = 0.998, 0.97, 1e-7


def wpmi(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top: int = _HARD_TOP,
    scale: float = _HARD_SCALE,
    strength: float = _HARD_STRENGTH,
) -> Float[Tensor, "units concepts"]:
    """L_km - strength * prior_m, with L_km = sum over the unit's top images x of log(s_xm + 1e-7), s_x =
    softmax_m(scale P_x).

    `prior` is `wpmi_prior` of the whole layer; `None` takes the units at hand for the layer. A unit with n < `top`
    images gets L - strength (n / top) prior: the order of its concepts is that of the mean over its images, and less
    evidence gives a smaller score.
    """
    evidence, share = _evidence(activations, images, concepts, won, top, scale, soft=False)
    return _scores(evidence, share, supported(activations, won), prior, strength)


def soft_wpmi(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top: int = _SOFT_TOP,
    scale: float = _SOFT_SCALE,
    strength: float = _SOFT_STRENGTH,
) -> Float[Tensor, "units concepts"]:
    """As `wpmi`, with soft membership: L_km = sum_r log(1 + p_r (s_xm - 1) + 1e-7), x the image of rank r = 0, 1, ...

    p_r = 0.998 - (r / top) (0.998 - 0.97) is the probability that the r-th image belongs to the unit's set.
    """
    evidence, share = _evidence(activations, images, concepts, won, top, scale, soft=True)
    return _scores(evidence, share, supported(activations, won), prior, strength)


def wpmi_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    similarity: str = "soft_wpmi",
    top: int | None = None,
    scale: float | None = None,
) -> Float[Tensor, "concepts"]:
    """How likely each concept is over a whole layer: logsumexp_k L_km - log K, over its units with support.

    For a unit with fewer than `top` images L is scaled up to `top` terms, so that it weighs as much as any other.
    """
    if similarity not in ("soft_wpmi", "wpmi"):
        raise ValueError(
            f"Expected a similarity with a prior (soft_wpmi, wpmi) but got {similarity!r}"
            f"{nearest(similarity, ['soft_wpmi', 'wpmi'])}"
        )
    soft = similarity == "soft_wpmi"
    top = top or (_SOFT_TOP if soft else _HARD_TOP)
    scale = scale or (_SOFT_SCALE if soft else _HARD_SCALE)
    evidence, share = _evidence(activations, images, concepts, won, top, scale, soft=soft)
    return _prior(evidence, share, supported(activations, won)).float()


def _scores(
    evidence: Tensor, share: Tensor, speaks: Tensor, prior: Tensor | None, strength: float
) -> Float[Tensor, "units concepts"]:
    prior = _prior(evidence, share, speaks) if prior is None else prior.double()
    return (evidence - strength * share[:, None] * prior).where(speaks[:, None], 0.0).float()


def _prior(evidence: Tensor, share: Tensor, speaks: Tensor) -> Tensor:
    if not speaks.any():
        return evidence.new_zeros(evidence.shape[1])
    full = evidence[speaks] / share[speaks, None]
    return full.logsumexp(0) - torch.tensor(float(len(full))).log()


def _evidence(
    activations: Tensor, images: Tensor, concepts: Tensor, won: Tensor | None, top: int, scale: float, *, soft: bool
) -> tuple[Tensor, Tensor]:
    """L in fp64 (units x concepts) and each unit's share of the `top` images it could have had.

    The factors of up to 100 images are multiplied in fp64 (each at least 1e-7 or 1 - p: the product stays above
    1e-300) and the logarithm is taken once.
    """
    order, counts = top_images(activations, won, top)
    k = len(order)
    images = images.float()
    log_total = torch.full((len(images),), -torch.inf, device=images.device)
    for _, chunk in chunks(concepts, rows=len(images)):  # one pass for the softmax's normaliser
        log_total = torch.logaddexp(log_total, (scale * (images @ chunk.T)).logsumexp(1))
    rank = torch.arange(k, device=images.device, dtype=torch.float64)
    p = _START - rank / top * (_START - _END) if soft else torch.ones_like(rank)
    counted = rank[:, None] < counts  # k x units
    everyone = counted.all(1).tolist()
    evidence = torch.empty(activations.shape[1], len(concepts), dtype=torch.float64, device=images.device)
    for where, chunk in chunks(concepts, rows=len(images) + 3 * activations.shape[1]):
        s = (scale * (images @ chunk.T) - log_total[:, None]).exp().double()
        product = torch.ones(activations.shape[1], len(chunk), dtype=torch.float64, device=images.device)
        logs = torch.zeros_like(product)
        for r in range(k):
            factor = s[order[r]].mul_(p[r]).add_(1 - p[r] + _MIN)
            product.mul_(factor if everyone[r] else torch.where(counted[r][:, None], factor, 1.0))
            if r % 40 == 39:  # 1e-7 ** 40 is still a number
                logs += product.log()
                product.fill_(1.0)
        evidence[:, where] = logs + product.log()
    return evidence, (counts / k).double()
