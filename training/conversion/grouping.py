"""Which units should compete: those that are seldom active together (pure functions of recorded activations)."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from competition_layers.competition import Layout

Grouping = Literal["data", "index", "random"]
GROUPINGS: tuple[Grouping, ...] = ("data", "index", "random")


def coactivation(activations: Float[Tensor, "positions units"]) -> Float[Tensor, "units units"]:
    """How much two units are active together: E[a_i a_j] over positions, a = max(0, activation); 0 on the diagonal.

    Zero for units that never are. (The mean of min(a_i, a_j), which is what a competition of two takes away, orders
    groupings alike and costs a cube instead of one matrix product.)
    """
    a = activations.float().clamp_min(0)
    return (a.T @ a).div_(max(1, len(a))).fill_diagonal_(0)


def balanced_groups(
    cost: Float[Tensor, "units units"], competitors: int, *, starts: int = 2, seed: int = 0
) -> Int[Tensor, "groups competitors"]:
    """Groups of `competitors` units with a low sum of `cost` over the pairs inside groups.

    From the grouping by index and from `starts` - 1 random ones, the two units of different groups whose exchange
    lowers the sum most are exchanged, until no exchange does; the best end counts. With S_ig the summed cost of unit i
    to group g, exchanging i (of g) and j (of h) changes the sum by S_ih - S_ig + S_jg - S_jh - 2 c_ij. Exchanges
    between different pairs of groups are independent, so a round makes many.
    """
    units = len(cost)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(units), *(torch.randperm(units, generator=generator) for _ in range(starts - 1))]
    refined = [_refined(cost, order.reshape(-1, competitors).to(cost.device)) for order in orders]
    return min(refined, key=lambda groups: float(grouping_cost(cost, groups))).cpu()


def grouping_cost(cost: Float[Tensor, "units units"], groups: Int[Tensor, "groups competitors"]) -> Float[Tensor, ""]:
    """The sum of `cost` over the pairs inside groups."""
    return cost[groups.unsqueeze(2), groups.unsqueeze(1)].sum() / 2


def random_groups(units: int, competitors: int, *, seed: int) -> Int[Tensor, "groups competitors"]:
    """Groups drawn at random."""
    return torch.randperm(units, generator=torch.Generator().manual_seed(seed)).reshape(-1, competitors)


def order_of(groups: Int[Tensor, "groups competitors"], layout: Layout) -> Int[Tensor, "units"]:
    """The order of the units that makes `groups` the groups of `layout`: unit i is to be what unit order[i] was.

    >>> order_of(torch.tensor([[0, 3], [1, 2]]), "strided")
    tensor([0, 1, 3, 2])
    """
    return (groups.T if layout == "strided" else groups).flatten()


def _refined(cost: Tensor, groups: Tensor) -> Tensor:
    count, competitors = groups.shape
    group_of = torch.empty(groups.numel(), dtype=torch.long, device=cost.device)
    group_of[groups.flatten()] = torch.arange(count, device=cost.device).repeat_interleave(competitors)
    rounding = 1e-6 * float(cost.max())
    while True:
        to_group = cost.new_zeros(len(cost), count).index_add_(1, group_of, cost)
        to_other = to_group[:, group_of]  # of unit i to the group of unit j
        gain = to_other - to_other.diagonal().unsqueeze(1)
        gain = (gain + gain.T - 2 * cost).masked_fill_(group_of.unsqueeze(0) == group_of.unsqueeze(1), 0)
        best, partner = gain.min(1)
        gaining = best.argsort()[: int((best < -rounding).sum())].tolist()
        groups_now = group_of.tolist()
        touched: set[int] = set()
        for i in gaining:
            j = int(partner[i])
            pair = {groups_now[i], groups_now[j]}
            if touched.isdisjoint(pair):
                touched |= pair
                group_of[[i, j]] = group_of[[j, i]]
        if not touched:
            return group_of.argsort(stable=True).reshape(count, competitors)
