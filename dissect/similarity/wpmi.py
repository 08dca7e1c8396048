"""Weighted pointwise mutual information of a concept and the images that a unit likes most."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .likelihood import Constants, Likelihood

# CLIP-Dissect's code 21e7697
HARD = Constants(top=28, scale=2.0, strength=0.6, first=1.0, last=1.0)
SOFT = Constants(top=100, scale=10.0, strength=1.0, first=0.998, last=0.97)


def wpmi(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top: int = HARD.top,
    scale: float = HARD.scale,
    strength: float = HARD.strength,
) -> Float[Tensor, "units concepts"]:
    """L_km - strength * prior_m, with L_km = sum over the unit's top images x of log(s_xm + 1e-7), s_x =
    softmax_m(scale P_x).

    `prior` is that of the whole layer (`wpmi_and_prior`); `None` takes the units at hand for the layer. A unit with
    n < `top` images gets L - strength (n / top) prior: the order of its concepts is that of the mean over its images,
    and less evidence gives a smaller score.
    """
    constants = HARD._replace(top=top, scale=scale, strength=strength)
    return _scores(Likelihood.of(constants, activations, images, concepts, won), strength, prior)[0]


def soft_wpmi(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    top: int = SOFT.top,
    scale: float = SOFT.scale,
    strength: float = SOFT.strength,
) -> Float[Tensor, "units concepts"]:
    """As `wpmi`, with soft membership: L_km = sum_r log(1 + p_r (s_xm - 1) + 1e-7), x the image of rank r = 0, 1, ...

    p_r = 0.998 - (r / top) (0.998 - 0.97) is the probability that the r-th image belongs to the unit's set.
    """
    constants = SOFT._replace(top=top, scale=scale, strength=strength)
    return _scores(Likelihood.of(constants, activations, images, concepts, won), strength, prior)[0]


def wpmi_and_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    constants: Constants = SOFT,
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"]]:
    """The scores of a whole layer and its prior, in fp64: how likely each concept is over the units with support,
    logsumexp_k L_km - log K. For a unit with n < `top` images L is scaled up to `top` terms, so that it weighs as
    much as any other."""
    return _scores(Likelihood.of(constants, activations, images, concepts, won), constants.strength, None)


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
    scores[~likelihood.supported] = 0.0
    return scores, torch.cat(priors) if priors else likelihood.share.new_empty(0)
