"""Group discrimination: of the units that compete, the labels must tell which one wins. Chance is 1/U."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...naming.permutation_test import standardised
from .seen import Seen


def rivals(seen: Seen) -> Float[Tensor, "units"]:
    """Of the images that a unit won, the share where its label speaks loudest among those of its group.

    Labels are compared by their scores, each standardised over the images: how large a score is does not say who
    wins. The winner is the unit with the group's highest value; images where two have it do not count. Labels that tie
    share the point. The mean over a group of U judged units that all won something is 1/U for labels that say nothing
    of the winner, for a constant one too. NaN for a unit without judged rivals, or that never won.
    """
    share = torch.full((seen.values.shape[1],), torch.nan, dtype=torch.float64)
    if seen.group is None:
        return share
    said = standardised(seen.concept)
    for group in seen.group.unique().tolist():
        members = (seen.group == group).nonzero()[:, 0]
        if group < 0 or len(members) < 2:
            continue
        won = _alone_at_the_top(seen.values[:, members])
        loudest = said[:, members] >= said[:, members].amax(1, keepdim=True) - 1e-12
        points = loudest.double() / loudest.sum(1, keepdim=True)
        share[members] = (points * won).sum(0) / won.sum(0)  # 0 / 0: it never won
    return share


def _alone_at_the_top(values: Float[Tensor, "images members"]) -> Bool[Tensor, "images members"]:
    top = values == values.amax(1, keepdim=True)
    return top & (top.sum(1, keepdim=True) == 1)
