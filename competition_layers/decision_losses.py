"""What the training of a decision layer adds to its cross-entropy: units in use, and decisions by few of them."""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .groups import Groups, grouped


def balance_loss(h: Float[Tensor, "*shape"], groups: Groups) -> Float[Tensor, ""]:
    """KL of the uniform distribution to the mean use of units, over images, positions and processes; mean over groups.

        sum_u (1/U) log( (1/U) / p_u ),    p = mean of softmax_u(h_b)

    It is 0 when all units of a group are used equally often, and grows without bound for a unit that is never used;
    each image may still have one clear winner (unlike `competition_kl`, which is the mean of each image's own KL).
    """
    z, axis = grouped(h.movedim(groups.channel_dim, -1).flatten(0, -2), replace(groups, channel_dim=-1))
    mean = z.float().softmax(axis).mean(0)
    if dist.is_available() and dist.is_initialized():
        mean = _MeanOverProcesses.apply(mean)
    return -(mean.clamp_min(1e-9) * groups.competitors).log().mean()


def focus_loss(
    said: Float[Tensor, "images units"], logits: Float[Tensor, "images classes"], weight: Float[Tensor, "classes units"]
) -> Float[Tensor, ""]:
    """Entropy of the units' shares in a decision, mean over images; its exp is about how many units decide.

        sum_u -s_u log s_u,    s_u = |vote of u to the lead| / sum of them all

    The lead is that of the largest logit over the one behind it. 0 where one unit decides alone.

    Args:
        said: the winners' values, 0 for the others; at positions their mean.
        weight: V.
    """
    first, second = logits.detach().topk(2, dim=1).indices.unbind(1)
    share = F.normalize((said * (weight[first] - weight[second])).float(), p=1.0, dim=1).abs()
    return torch.special.entr(share.clamp_min(1e-7)).sum(1).mean()  # the slope at 0 is infinite


class _MeanOverProcesses(torch.autograd.Function):
    """The mean over processes; each hands its own share of the gradient back (DDP averages over processes again)."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor) -> Tensor:
        mean = mean.clone()
        dist.all_reduce(mean)
        return mean / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
