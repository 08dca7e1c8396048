"""Figures of a decision layer: how many winners decide, how many are needed, what a unit speaks for."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .decision_votes import Votes
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
    return _first_number(votes, votes.bias.expand_as(votes.logits), add=True)


def necessary_units(votes: Votes) -> Int[Tensor, "images"]:
    """The smallest number of units that, taken by their votes to the lead, change the prediction when switched off.

    An upper bound as well; K + 1 where the prediction stays with every unit off.
    """
    return _first_number(votes, votes.logits, add=False)


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
    order, bias = _order(votes), votes.bias
    if generator is not None:
        drawn = torch.randperm(votes.weights.shape[1], generator=generator)
        order = drawn.to(order.device).expand_as(order)
    ordered = votes.by_unit(votes.values).gather(1, order)[..., None] * votes.weights.t()[order]
    taken = torch.cat([torch.zeros_like(ordered[:, :1]), ordered.cumsum(1)], 1)
    predicted = predicted_and_rival(votes)[0][:, None, None].expand(-1, taken.shape[1], 1)
    deleted, inserted = (
        torch.trapezoid(logits.softmax(-1).gather(-1, predicted)[..., 0], dim=1) / ordered.shape[1]
        for logits in (votes.logits[:, None] - taken, bias + taken)
    )
    return deleted, inserted


def values_won(votes: Votes) -> Float[Tensor, "units"]:
    """The mean of each unit's value where it won, NaN where it won nowhere."""
    wins = votes.by_unit(torch.ones_like(votes.values)).sum(0)
    return votes.by_unit(votes.values).sum(0) / wins


def classes_served(values: Float[Tensor, "units"], weights: Float[Tensor, "classes units"]) -> Float[Tensor, "units"]:
    """For how many classes each unit speaks: exp of the entropy of its votes, those above their mean over classes.

    1 is a detector of one class. NaN for units that won nowhere.

    Args:
        values: see `values_won`.
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


def _order(votes: Votes) -> Int[Tensor, "images units"]:
    """The units, the largest vote to the lead first, those that won nowhere last."""
    lead = votes.by_unit(votes.to_lead(*predicted_and_rival(votes)))
    won = votes.by_unit(torch.ones_like(votes.values)) > 0
    return lead.masked_fill(~won, -torch.inf).argsort(1, descending=True)


def _first_number(votes: Votes, answer: Float[Tensor, "images classes"], *, add: bool) -> Int[Tensor, "images"]:
    """The number of units, the largest vote to the lead first, that turn `answer` into the prediction when added, or
    away from it when taken off; units that won nowhere come last; K + 1 where none do.

    Unit by unit, and no further than the last image needs: all votes of all units at once are images x K x classes.
    """
    predicted, order = predicted_and_rival(votes)[0], _order(votes)
    values, units = votes.by_unit(votes.values).gather(1, order), order.shape[1]
    number = torch.full_like(predicted, units + 1)
    for n in range(units + 1):
        if n:
            change = values[:, n - 1, None] * votes.weights.t()[order[:, n - 1]]
            answer = answer + change if add else answer - change
        turned = (answer.argmax(1) == predicted) == add
        number[turned & (number > n)] = n
        if n % 8 == 0 and (number <= n).all():
            break
    return number
