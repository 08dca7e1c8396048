"""What single units say is scaled or limited, in place: in the weights of who reads them, or by a gate behind them.

    y_u  ->  s_u * min(max(y_u, low_u), high_u)

A gate works on what an activation gives, so in a competition after the winner is chosen: a unit that is scaled,
limited or switched off (s_u = 0) still wins where it won, and no rival takes its place. That is what `logits_without`
measures. A unit that lost gives 0 and goes on giving 0, whatever its limits are.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .decision import SITE, has_decision
from .layers import StochasticLWTA
from .names import nearest
from .spec import spec_of
from .wiring.readers import linear_readers
from .wiring.sites import Site

GATE = "unit_gate"  # the child of an activation that is its gate


class UnitGate(nn.Module):
    """Factors and limits of the units of one activation; saved with the model.

    Args:
        units: their number.
        channel_dim: their axis in what the activation gives.
    """

    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, units: int, *, channel_dim: int):
        super().__init__()
        self.channel_dim = channel_dim
        self.register_buffer("scale", torch.ones(units))
        self.register_buffer("low", torch.full((units,), -torch.inf))
        self.register_buffer("high", torch.full((units,), torch.inf))

    def forward(self, y: Tensor, *, losers: bool) -> Tensor:
        """What passes of `y`; with `losers` what is 0 stays 0."""
        shape = [1] * y.ndim
        shape[self.channel_dim] = -1
        scale, low, high = (each.to(y.dtype).view(shape) for each in (self.scale, self.low, self.high))
        limited = y.clamp(low, high)
        return (torch.where(y == 0, y, limited) if losers else limited) * scale

    def extra_repr(self) -> str:
        return f"{len(self.scale)}, channel_dim={self.channel_dim}"


@torch.no_grad()
def scale_units(model: nn.Module, layer: str, factors: Float[Tensor, "units"]) -> bool:
    """Change `model` in place: what each unit of `layer` says is multiplied by its factor; 0 switches it off.

    Where only Linear and Conv2d maps read the layer (a decision layer's votes among them), their weights are
    multiplied and the network stays as it was built; elsewhere the layer gets a gate.

    Returns:
        Whether the weights were enough.

    Raises:
        ValueError: an unknown layer (the nearest is offered), another number of factors, or one that is not finite.
    """
    _check(model, layer, factors)
    if not factors.isfinite().all():
        raise ValueError(f"Expected finite factors of the units of {layer!r} but got {factors[~factors.isfinite()][0]}")
    readers = ["decision_votes"] if layer == SITE and has_decision(model) else linear_readers(model, layer)
    for name in readers:
        weight: Any = model.get_submodule(name).weight
        weight.mul_(factors.to(weight).view(1, -1, *[1] * (weight.ndim - 2)))
    if not readers:
        _gate(model, layer).scale.mul_(factors)
    return bool(readers)


@torch.no_grad()
def limit_units(model: nn.Module, layer: str, low: Float[Tensor, "units"], high: Float[Tensor, "units"]) -> None:
    """Change `model` in place: what each unit of `layer` says stays between `low` and `high`, by a gate.

    Raises:
        ValueError: an unknown layer, another number of limits, NaN, or a `low` above its `high`.
    """
    for limits in (low, high):
        _check(model, layer, limits)
    wrong = ~(low <= high)
    if wrong.any():
        unit = int(wrong.nonzero()[0])
        raise ValueError(
            f"Expected limits of unit {unit} of {layer!r} with low <= high but got {low[unit]:g} and {high[unit]:g}"
        )
    gate = _gate(model, layer)
    gate.low.copy_(torch.maximum(gate.low, low.to(gate.low)))
    gate.high.copy_(torch.minimum(gate.high, high.to(gate.high)))


def add_gate(model: nn.Module, layer: str, units: int, *, channel_dim: int) -> UnitGate:
    """Change `model` in place: an open gate behind the activation `layer`."""
    module = model.get_submodule(layer)
    gate = UnitGate(units, channel_dim=channel_dim)
    weight = next(model.parameters(), torch.empty(0))
    module.add_module(GATE, gate.to(weight.device))
    module.register_forward_hook(_through)
    return gate


def gates(model: nn.Module) -> dict[str, UnitGate]:
    """The gates of `model`, by the name of the activation in front of each."""
    suffix = f".{GATE}"
    return {name.removesuffix(suffix): m for name, m in model.named_modules() if isinstance(m, UnitGate)}


def carry_gate(old: nn.Module, new: nn.Module) -> nn.Module:
    """Change `new`, which takes the place of the activation `old`, in place: the gate of `old`, if any, is its too."""
    if GATE in old._modules:
        new.add_module(GATE, old._modules[GATE])
        new.register_forward_hook(_through_losers if isinstance(old, StochasticLWTA) else _through)
    return new


def site_of(model: Any, layer: str) -> Site:
    """The site `layer` of a model made by `create_model` or `load_model`.

    Raises:
        ValueError: no site of this name (the nearest is offered).
    """
    sites = {site.name: site for site in spec_of(model).sites}
    if layer not in sites:
        raise ValueError(
            f"Expected an activation of the network but got {layer!r}{nearest(layer, sites)} (known: "
            f"{', '.join(list(sites)[-6:])}); units are changed where they compete, or could"
        )
    return sites[layer]


def _through(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    # a function of its own, so that a copied network goes through the copied gate
    return module.unit_gate(output, losers=isinstance(module, StochasticLWTA))


def _through_losers(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return module.unit_gate(output, losers=True)


def _gate(model: nn.Module, layer: str) -> UnitGate:
    site = site_of(model, layer)
    found = gates(model).get(layer)
    return found or add_gate(model, layer, site.width or 0, channel_dim=site.channel_dim)


def _check(model: nn.Module, layer: str, values: Tensor) -> None:
    width = site_of(model, layer).width
    if values.shape != (width,):
        raise ValueError(f"Expected a number for each of the {width} units of {layer!r} but got {list(values.shape)}")
