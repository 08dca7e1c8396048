"""Where in the picture a pooled winner's value comes from: its share at each position of the feature map, exactly."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .decision import has_decision
from .groups import winner_units
from .layers import StochasticLWTA
from .linearised import frozen_norm_scale
from .wiring.trace import trace


@dataclass(frozen=True)
class ValuePlaces:
    """For every winner  value = shares.sum(positions) + constant,  up to rounding."""

    shares: Float[Tensor, "images groups positions"]
    constant: Float[Tensor, "images groups"]  # biases, and the offset of a norm
    places: tuple[int, ...]  # (height, width) or (tokens,)


@torch.enable_grad()
def value_places(model: Any, x: Tensor) -> ValuePlaces:
    """The share of each position in the winners' values of a decision layer `at="pooled"` on a timm backbone.

    A value is W f + b of the pooled features, and pooling is a mean: the value is a sum over positions. A norm between
    keeps the scale it has for this image.

    Raises:
        ValueError: another network, or what lies between the map and the layer is not linear (a hidden layer, pooling
            by maximum).
    """
    if not (has_decision(model) and hasattr(model, "forward_features") and model.lwta.decision.at == "pooled"):
        raise ValueError(
            f"Expected a timm backbone with a decision layer at 'pooled' but got {type(model).__name__}; "
            "create_model(..., decision=DecisionLayer()) makes one"
        )
    layer, (given,) = model.decision, trace(model, x[:1], of=model.forward_features).output.reads
    axis = given.axis
    if axis is None:
        raise ValueError(f"Expected the channels of {type(model).__name__}'s map on one axis but found none")
    with frozen_norm_scale(model):
        features = model.forward_features(x).detach().requires_grad_()

        def pre_activations(features: Tensor) -> Tensor:
            return model.decision_units(model.decision_features(model.forward_head(features, pre_logits=True)))

        h = pre_activations(features)
        if isinstance(layer, StochasticLWTA):
            units = winner_units(layer.winners(h.detach(), sampled=False), layer.groups)
        else:
            units = torch.arange(h.shape[1], device=h.device).expand(h.shape)
        values = h.gather(1, units)
        shares = []
        for value in values.unbind(1):
            (gradient,) = torch.autograd.grad(value.sum(), features, retain_graph=True)
            shares.append((features * gradient).detach().sum(axis).flatten(1))
        with torch.no_grad():
            constant = pre_activations(torch.zeros_like(features)).gather(1, units)
    found = torch.stack(shares, 1)
    missed = (values.detach() - found.sum(-1) - constant).abs()
    if not (missed <= 1e-4 * (found.abs().sum(-1) + constant.abs())).all():
        raise ValueError(
            f"Expected pooled features that are linear in the map of {type(model).__name__} but there is a bend "
            "between (a hidden layer, pooling by maximum, a class token); at='positions' gives votes a place"
        )
    places = tuple(n for a, n in enumerate(features.shape) if a not in (0, axis))
    return ValuePlaces(found, constant, places)
