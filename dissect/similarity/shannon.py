"""How far apart two distributions over the images are: the unit's and the concept's."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import chunks, supported, winning


def jensen_shannon(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    scale: float = 100.0,
) -> Float[Tensor, "units concepts"]:
    """1 - JSD(q, p_m) / ln 2, between 0 and 1.

    q = relu(activation) / sum (a unit that is never positive: activation less its smallest, over the images that
    count), and p_m = softmax over the images of scale * P_m. DISCOVER names this similarity but publishes neither
    normalisation nor constants: these are ours (`scale` is CLIP's own logit scale). `prior` is not used.

        JSD = ln2/2 (1 - sum_S p) + 1/2 sum_S [ q ln(q / m) + p ln(p / m) ],  m = (q + p) / 2,  S = the images with q
        > 0
    """
    q = _distributions(activations, won)
    speaks = supported(activations, won)
    scores = torch.zeros(activations.shape[1], len(concepts), device=activations.device)
    for where, chunk in chunks(concepts, rows=4 * len(images)):
        p = (scale * (images.float() @ chunk.T)).softmax(0)
        for unit in speaks.nonzero().flatten().tolist():
            on = q[:, unit].nonzero().flatten()
            qs, ps = q[on, unit, None], p[on]
            middle = (qs + ps) / 2
            inside = qs * (qs / middle).log() + torch.special.xlogy(ps, ps / middle)
            jsd = math.log(2) / 2 * (1 - ps.sum(0)) + inside.sum(0) / 2
            scores[unit, where] = 1 - jsd / math.log(2)
    return scores


def _distributions(activations: Tensor, won: Tensor | None) -> Tensor:
    values = winning(activations, won)
    positive = values.clamp(min=0)
    counted = torch.ones_like(values, dtype=torch.bool) if won is None else won
    smallest = values.masked_fill(~counted, torch.inf).amin(0)
    shifted = torch.where(counted, values - smallest, 0.0)
    shifted = torch.where(
        shifted.sum(0) > 0, shifted, counted.float()
    )  # all values the same: every image that counts alike
    q = torch.where(positive.sum(0) > 0, positive, shifted)
    return q / q.sum(0).clamp(min=torch.finfo(q.dtype).tiny)
