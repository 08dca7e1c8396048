"""What only a decision layer can tell: its arithmetic, how few winners would do, where a pooled value comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from competition_layers import Votes, fixed_noise, votes
from competition_layers.attribution import Contributions
from competition_layers.decision import SITE, has_decision
from competition_layers.decision_figures import necessary_units, sufficient_units
from competition_layers.decision_places import ValuePlaces, value_places

from .explanation import Switches, UnitEffect
from .places import on_grid, place_of


@dataclass(frozen=True)
class DecisionView:
    """`sufficient` winners alone give the answer, switching off `necessary` changes it; None of another class's lead
    than the predicted one's, or where nothing changes it."""

    switches: Switches
    winners: int  # units that won somewhere
    sufficient: int | None = None
    necessary: int | None = None
    shares: ValuePlaces | None = field(default=None, repr=False)
    votes: Votes | None = field(default=None, repr=False)


def decides(model: nn.Module, layer: str) -> bool:
    """Whether `layer` is the decision layer of `model`."""
    return layer == SITE and has_decision(model)


def decision_views(
    model: nn.Module, x: Tensor, found: Contributions, units: Sequence[Sequence[int]], labels: Sequence[str]
) -> list[DecisionView]:
    """The view of each image's decision; its `units` get a row of votes each, the other winners one together."""
    with fixed_noise(model):
        cast = votes(model, x)
        shares = _shares(model, x, cast)
    return [_view(found.of(i), _of(cast, i), _of(shares, i), units[i], labels) for i in range(len(x))]


def _view(
    found: Contributions, cast: Votes, shares: ValuePlaces | None, units: Sequence[int], labels: Sequence[str]
) -> DecisionView:
    by_unit = cast.by_unit(cast.values)[0]  # the value a unit passed, summed over positions
    each = by_unit[:, None] * cast.weights.t()  # units, classes
    others = torch.ones(len(each), dtype=torch.bool, device=each.device)
    others[list(units)] = False
    rows = torch.cat([each[list(units)], each[others].sum(0, keepdim=True)])
    switches = Switches(tuple(labels), _numbers(cast.bias), tuple(_numbers(row) for row in rows))
    winners = len(cast.units[0].unique())
    if found.target[0] != found.predicted[0]:
        return DecisionView(switches, winners, shares=shares, votes=cast)
    sufficient, necessary = (int(figure(cast)[0]) for figure in (sufficient_units, necessary_units))
    never = len(each) + 1
    return DecisionView(switches, winners, sufficient, None if necessary >= never else necessary, shares, cast)


def with_places(effects: Sequence[UnitEffect], view: DecisionView) -> tuple[UnitEffect, ...]:
    """The effects of a pooled layer's winners, with the share of each place of the map in the winner's value."""
    if view.shares is None or view.votes is None or len(view.shares.places) != 2:
        return tuple(effects)
    rows, columns = view.shares.places
    placed = []
    for effect in effects:
        (group,) = (view.votes.units[0, 0] == effect.unit).nonzero()[0].tolist()
        shares = view.shares.shares[0, group]
        towards = (shares * (1 if effect.value >= 0 else -1)).clamp_min(0)
        where = on_grid(towards, torch.ones_like(towards, dtype=torch.bool), (rows, columns))
        placed.append(replace(effect, where=where, place=place_of(towards, (rows, columns))))
    return tuple(placed)


def _shares(model: Any, x: Tensor, cast: Votes) -> ValuePlaces | None:
    """Where values come from; None at positions, and where what lies before the layer is not linear."""
    if cast.places:
        return None
    try:
        return value_places(model, x)
    except ValueError:
        return None


def _of(batch: Any, image: int) -> Any:
    """The same of one image: what has a row an image is cut."""
    if isinstance(batch, Votes):
        cut: tuple[str, ...] = ("logits", "units", "values")
    elif isinstance(batch, ValuePlaces):
        cut = ("shares", "constant")
    else:
        return None
    return replace(batch, **{name: getattr(batch, name)[image : image + 1] for name in cut})


def _numbers(row: Tensor) -> tuple[float, ...]:
    return tuple(row.tolist())
