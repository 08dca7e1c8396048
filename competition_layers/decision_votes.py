"""Who decided a batch of images, and with how much: the votes of a decision layer."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .decision import DecisionHead, has_decision
from .groups import winner_units
from .layers import StochasticLWTA


@dataclass(frozen=True)
class Votes:
    """Who decided a batch of images, and with how much. For every image and class, up to rounding:

    logit = bias + votes.sum((positions, groups))
    """

    logits: Float[Tensor, "images classes"]
    bias: Float[Tensor, "classes"]
    units: Int[Tensor, "images positions groups"]  # the winners
    values: Float[Tensor, "images positions groups"]  # theirs
    weights: Float[Tensor, "classes units"]  # V / positions
    places: tuple[int, ...]  # the positions before they were flattened: (height, width), (tokens,), or () when pooled

    @property
    def votes(self) -> Float[Tensor, "images positions groups classes"]:
        """What each winner adds to every logit."""
        return self.values[..., None] * self.weights.t()[self.units]

    def to_lead(
        self, target: Int[Tensor, "images"], rival: Int[Tensor, "images"]
    ) -> Float[Tensor, "images positions groups"]:
        """What each winner adds to the lead of one class over another."""
        apart = self.weights[target] - self.weights[rival]
        return self.values * apart.gather(1, self.units.flatten(1)).view_as(self.values)

    def by_unit(self, of_winners: Float[Tensor, "images positions groups"]) -> Float[Tensor, "images units"]:
        """The sum over positions of a figure of winners."""
        zeros = of_winners.new_zeros(len(of_winners), self.weights.shape[1])
        return zeros.scatter_add(1, self.units.flatten(1), of_winners.flatten(1))


@torch.no_grad()
def votes(model: Any, x: Tensor) -> Votes:
    """The votes of a network's decision layer, or of a `DecisionHead` on features, in evaluation.

    Where the units do not compete (a twin, see `DecisionLayer.activation`), every unit is a winner.

    Raises:
        ValueError: no decision layer.
    """
    if not isinstance(model, DecisionHead) and not has_decision(model):
        raise ValueError(
            f"Expected a network with a decision layer but {type(model).__name__} has none: "
            "create_model(..., decision=DecisionLayer())"
        )
    seen: list[Tensor] = []
    layer = model.decision
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.extend((inputs[0], output)))
    try:
        logits = model(x)
    finally:
        handle.remove()
    h, y = (t.reshape(len(logits), -1, t.shape[-1]) for t in seen)
    if isinstance(layer, StochasticLWTA):
        units = winner_units(layer.winners(seen[0]), layer.groups).reshape(*h.shape[:2], -1)
    else:
        units = torch.arange(h.shape[-1], device=h.device).expand(h.shape)
    return Votes(
        logits=logits,
        bias=model.decision_votes.bias,
        units=units,
        values=y.gather(-1, units),
        weights=model.decision_votes.weight / h.shape[1],
        places=tuple(seen[0].shape[1:-1]),
    )
