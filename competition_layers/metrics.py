"""How sparse a network is: metrics of who won, and the effective density of a decision.

The metrics are fed masks of winners, never values: a winner can be 0, and a smooth activation never is.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from .groups import Groups, grouped


def effective_density(contributions: Float[Tensor, "*images units"], *, share: float = 0.9) -> Float[Tensor, "*images"]:
    """The smallest share of units whose absolute contributions reach `share` of their sum; 0 where nothing contributes.

    With |c| sorted downwards:  min{ n : |c|_1 + ... + |c|_n >= share * sum |c| } / K.

    >>> effective_density(torch.tensor([[8.0, -1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([0.5000, 1.0000])
    """
    return deciding_units(contributions, share=share).float().mean(-1)


def deciding_units(
    contributions: Float[Tensor, "*images units"], *, share: float = 0.9
) -> Bool[Tensor, "*images units"]:
    """The units that `effective_density` counts: the largest absolute contributions until `share` of their sum.

    >>> deciding_units(torch.tensor([1.0, -8.0, 1.0, 0.0]))
    tensor([ True,  True, False, False])
    """
    if not 0 < share <= 1:
        raise ValueError(f"Expected a share above 0 and at most 1 but got {share}")
    # in double precision, so that equal contributions are counted alike whatever their number
    size, order = contributions.abs().double().sort(dim=-1, descending=True, stable=True)
    before = size.cumsum(-1) - size
    needed = (before < share * (1 - 1e-12) * size.sum(-1, keepdim=True)) & (size > 0)
    return torch.zeros_like(needed).scatter(-1, order, needed)


class Density(Metric):
    """Share of units that pass, over everything seen: 1/U for a competition.

    >>> metric = Density()
    >>> metric.update(torch.tensor([[True, False], [False, False]]))
    >>> metric.compute()
    tensor(0.2500)
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, **options):
        super().__init__(**options)
        self.add_state("passed", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, won: Bool[Tensor, "*shape"]) -> None:
        """`won`: which units passed (see `winner_mask`), in any shape."""
        self.passed += won.sum()
        self.seen += won.numel()

    def compute(self) -> Float[Tensor, ""]:
        return self.passed / self.seen


class WinRate(Metric):
    """Share of places (images and positions) that each unit won.

    >>> metric = WinRate(2)
    >>> metric.update(torch.tensor([[True, False], [True, False], [False, True], [True, False]]))
    >>> metric.compute()
    tensor([0.7500, 0.2500])
    """

    full_state_update = False

    def __init__(self, units: int, **options):
        super().__init__(**options)
        self.add_state("wins", torch.zeros(units, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("places", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, won: Bool[Tensor, "*places units"]) -> None:
        """`won`: which units passed, units on the last axis."""
        if won.shape[-1] != len(self.wins):
            raise ValueError(f"Expected {len(self.wins)} units on the last axis but got the shape {tuple(won.shape)}")
        flat = won.reshape(-1, won.shape[-1])
        self.wins += flat.sum(0)
        self.places += len(flat)

    def compute(self) -> Float[Tensor, "units"]:
        return self.wins / self.places


def dead_units(win_rate: Float[Tensor, "units"]) -> Float[Tensor, ""]:
    """Share of units that won nowhere.

    >>> dead_units(torch.tensor([0.75, 0.25, 1.0, 0.0]))
    tensor(0.2500)
    """
    return (win_rate == 0).float().mean()


def winner_entropy(win_rate: Float[Tensor, "units"], groups: Groups) -> Float[Tensor, ""]:
    """How evenly the units of a group share the wins: mean over groups of -sum_u p_u log p_u / log U; 0 to 1.

    >>> winner_entropy(torch.tensor([0.5, 1.0, 0.5, 0.0]), Groups(2, channel_dim=0))
    tensor(0.5000)
    """
    rates, axis = grouped(win_rate, replace(groups, channel_dim=0))
    p = rates / rates.sum(axis, keepdim=True)  # exactly one wins at each place: the sum is never 0
    return torch.special.entr(p).sum(axis).mean() / math.log(groups.competitors)
