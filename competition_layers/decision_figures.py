"""Figures of a decision layer: how many winners decide, how many are needed, what a unit speaks for."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .decision import Votes
from .metrics import deciding_units


def predicted_and_rival(votes: Votes) -> tuple[Int[Tensor, "images"], Int[Tensor, "images"]]:
    """The class of the largest logit and the one behind it; the lead is their difference."""
    predicted, rival = votes.logits.topk(2, dim=1).indices.unbind(1)
    return predicted, rival


def units_for_lead(votes: Votes, *, share: float = 0.9) -> Int[Tensor, "images"]:
    """How many units carry `share` of the absolute votes to the lead; a unit's votes at several positions are one."""
    lead = votes.by_unit(votes.to_lead(*predicted_and_rival(votes)))
    return deciding_units(lead, share=share).sum(1)


def sufficient_units(votes: Votes) -> Int[Tensor, "images"]:
    """The smallest number of units that, taken by their votes to the lead, give the prediction without the others.

    An upper bound of the smallest set, which would need every subset to be tried.
    """
    ordered, bias = _by_lead(votes), votes.bias
    kept = torch.cat([torch.zeros_like(ordered[:, :1]), ordered.cumsum(1)], 1) + bias
    return _first(kept.argmax(-1) == predicted_and_rival(votes)[0][:, None])


def necessary_units(votes: Votes) -> Int[Tensor, "images"]:
    """The smallest number of units that, taken by their votes to the lead, change the prediction when switched off.

    An upper bound as well; K + 1 where the prediction stays with every unit off.
    """
    ordered = _by_lead(votes)
    left = votes.logits[:, None] - torch.cat([torch.zeros_like(ordered[:, :1]), ordered.cumsum(1)], 1)
    return _first(left.argmax(-1) != predicted_and_rival(votes)[0][:, None])


@torch.no_grad()
def curve_areas(
    votes: Votes, *, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "images"], Float[Tensor, "images"]]:
    """Areas under the deletion and the insertion curve: the mean probability of the predicted class (trapezoids) while
    0 to all K units are switched off, those with the largest votes to the lead first, and while they alone are on.

    Deletion is the better the smaller, insertion the larger (Petsiuk et al. 2018, over units in the place of pixels).

    Args:
        generator: draws the order instead, one for all images: what the areas are worth.
    """
    ordered, bias = _by_lead(votes), votes.bias
    if generator is not None:
        drawn = torch.randperm(votes.weights.shape[1], generator=generator).to(ordered.device)
        ordered = votes.by_unit(votes.values)[:, drawn, None] * votes.weights.t()[drawn]
    taken = torch.cat([torch.zeros_like(ordered[:, :1]), ordered.cumsum(1)], 1)
    predicted = predicted_and_rival(votes)[0][:, None, None].expand(-1, taken.shape[1], 1)
    deleted, inserted = (
        torch.trapezoid(logits.softmax(-1).gather(-1, predicted)[..., 0], dim=1) / ordered.shape[1]
        for logits in (votes.logits[:, None] - taken, bias + taken)
    )
    return deleted, inserted


def classes_served(values: Float[Tensor, "units"], weights: Float[Tensor, "classes units"]) -> Float[Tensor, "units"]:
    """For how many classes each unit speaks: exp of the entropy of its votes, those above their mean over classes.

    1 is a detector of one class. NaN for units that won nowhere.

    Args:
        values: the mean of each unit's value where it won, NaN where it won nowhere.
        weights: `Votes.weights`.
    """
    towards = (values * weights).sub((values * weights).mean(0)).clamp_min(0)
    share = towards / towards.sum(0)
    return torch.special.entr(share).sum(0).exp()


def tautology(votes: Votes, same: Bool[Tensor, "units classes"]) -> Float[Tensor, "images"]:
    """The share of the absolute votes to the lead that is carried by units whose name is the predicted class.

    Args:
        same: whether a unit's name is the class or a near-synonym of it.
    """
    predicted, rival = predicted_and_rival(votes)
    lead = votes.by_unit(votes.to_lead(predicted, rival)).abs()
    return (lead * same.t()[predicted]).sum(1) / lead.sum(1).clamp_min(torch.finfo(lead.dtype).tiny)


def _by_lead(votes: Votes) -> Float[Tensor, "images units classes"]:
    """The votes of each unit to every class, the largest vote to the lead first, units that won nowhere last."""
    lead = votes.by_unit(votes.to_lead(*predicted_and_rival(votes)))
    won = votes.by_unit(torch.ones_like(votes.values)) > 0
    order = lead.masked_fill(~won, -torch.inf).argsort(1, descending=True)
    values = votes.by_unit(votes.values).gather(1, order)
    return values[..., None] * votes.weights.t()[order]


def _first(true: Bool[Tensor, "images numbers"]) -> Int[Tensor, "images"]:
    """The first number at which it is so; one more than there are where it never is."""
    never = torch.ones_like(true[:, :1])
    return torch.cat([true, never], 1).byte().argmax(1)
