"""How far apart two distributions over the images are: the unit's and the concept's."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import chunks, has_support, zero_losers


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

    With e(t) = -t ln t, and S the images with q > 0 (elsewhere q + p = p), one logarithm a pair is enough:

        1 - JSD / ln 2 = [ sum_S e(q) + sum_S e(p) - sum_S e(q + p) ] / (2 ln 2)
    """
    q = _distributions(activations, won)
    supported = has_support(activations, won)
    on = [(unit, q[:, unit].nonzero().flatten()) for unit in supported.nonzero().flatten().tolist()]
    shares = (q > 0).float().T
    own = torch.special.entr(q.double()).sum(0).float()
    scores = torch.zeros(activations.shape[1], len(concepts), device=activations.device)
    for where, chunk in chunks(concepts, rows=4 * len(images)):
        p = (images.float() @ chunk.T).mul_(scale).softmax(0)
        entropies = own[:, None] + shares @ torch.special.entr(p)
        for unit, rows in on:
            both = p.index_select(0, rows).add_(q[rows, unit, None])
            scores[unit, where] = entropies[unit].add_((both.log() * both).sum(0))
    return scores.div_(2 * math.log(2))


def _distributions(activations: Tensor, won: Tensor | None) -> Tensor:
    values = zero_losers(activations, won)
    positive = values.clamp(min=0)
    counted = torch.ones_like(values, dtype=torch.bool) if won is None else won
    smallest = values.masked_fill(~counted, torch.inf).amin(0)
    shifted = torch.where(counted, values - smallest, 0.0)
    shifted = torch.where(
        shifted.sum(0) > 0, shifted, counted.float()
    )  # all values the same: every image that counts alike
    q = torch.where(positive.sum(0) > 0, positive, shifted)
    return q / q.sum(0).clamp(min=torch.finfo(q.dtype).tiny)
