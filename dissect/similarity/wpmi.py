"""Weighted pointwise mutual information of a concept and the images that a unit likes most."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .likelihood import PUBLISHED, Likelihood

_HARD, _SOFT = PUBLISHED["wpmi"], PUBLISHED["soft_wpmi"]


def wpmi(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top: int = _HARD.top,
    scale: float = _HARD.scale,
    strength: float = _HARD.strength,
) -> Float[Tensor, "units concepts"]:
    """L_km - strength * prior_m, with L_km = sum over the unit's top images x of log(s_xm + 1e-7), s_x =
    softmax_m(scale P_x).

    `prior` is `wpmi_prior` of the whole layer; `None` takes the units at hand for the layer. A unit with n < `top`
    images gets L - strength (n / top) prior: the order of its concepts is that of the mean over its images, and less
    evidence gives a smaller score.
    """
    likelihood = Likelihood.of("wpmi", activations, images, concepts, won, top, scale)
    return _scores(likelihood, strength, prior)[0]


def soft_wpmi(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top: int = _SOFT.top,
    scale: float = _SOFT.scale,
    strength: float = _SOFT.strength,
) -> Float[Tensor, "units concepts"]:
    """As `wpmi`, with soft membership: L_km = sum_r log(1 + p_r (s_xm - 1) + 1e-7), x the image of rank r = 0, 1, ...

    p_r = 0.998 - (r / top) (0.998 - 0.97) is the probability that the r-th image belongs to the unit's set.
    """
    likelihood = Likelihood.of("soft_wpmi", activations, images, concepts, won, top, scale)
    return _scores(likelihood, strength, prior)[0]


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
    """How likely each concept is over a whole layer: logsumexp_k L_km - log K, over its units with support (fp64).

    For a unit with fewer than `top` images L is scaled up to `top` terms, so that it weighs as much as any other.
    Whoever wants the scores too takes `wpmi_and_prior`, which finds both in one pass.
    """
    likelihood = Likelihood.of(similarity, activations, images, concepts, won, top, scale)
    return torch.cat([likelihood.prior(chunk) for _, chunk in likelihood.chunks()])


def wpmi_and_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    similarity: str = "soft_wpmi",
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"]]:
    """`soft_wpmi` or `wpmi` of a whole layer, and its `wpmi_prior`, from one pass over the evidence."""
    likelihood = Likelihood.of(similarity, activations, images, concepts, won)
    return _scores(likelihood, PUBLISHED[similarity].strength, None)


def _scores(
    likelihood: Likelihood, strength: float, prior: Tensor | None
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"]]:
    """L - strength * share * prior, chunk by chunk: a concept's prior needs all units, but no other concept."""
    scores = torch.empty(len(likelihood.share), len(likelihood.concepts), device=likelihood.share.device)
    priors = []
    for where, chunk in likelihood.chunks():
        priors.append(likelihood.prior(chunk) if prior is None else prior[where].double())
        # in fp64 what is large, chance and prior; in fp32 what is left when they are taken from one another
        over = (priors[-1] - likelihood.full_chance).float()
        rest = likelihood.chance - strength * likelihood.share * likelihood.full_chance
        torch.addr(chunk, likelihood.share.float(), over, alpha=-strength, out=scores[:, where])
        scores[:, where] += rest.float()[:, None]
    scores[~likelihood.speaks] = 0.0
    return scores, torch.cat(priors) if priors else likelihood.share.new_empty(0)
