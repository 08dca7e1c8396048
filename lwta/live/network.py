"""A network as ONNX for a page: with its decision's winners and their values beside the logits, or with switches."""

import io
from typing import TYPE_CHECKING, Any

from dissect.explaining.explanation import UnitName
from dissect.report.live import LiveNetwork, Preparation

from .measured import INPUTS, ROWS, with_switches
from .measured import OUTPUTS as MEASURED

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUT, OUTPUTS = "images", ("logits", "units", "values")


def refuse_others(network: "nn.Module") -> None:
    """Refuse, before any work, a network whose pictures the page cannot prepare.

    Raises:
        ValueError: they are prepared in a way that the page does not know.
    """
    preparation_of(network)


def live_network(network: "nn.Module", dissection: Any = None, layer: str | None = None) -> LiveNetwork:
    """`network` as a page runs it, its winners by argmax; with a dissection its units have names and exemplars.

    Args:
        layer: whose units are shown, in a network without a decision layer; by default the last one that competes, or
            could.

    Raises:
        ValueError: see `refuse_others`.
    """
    from competition_layers import StochasticLWTA
    from competition_layers.decision import SITE, has_decision

    refuse_others(network)
    if has_decision(network) and isinstance(network.get_submodule(SITE), StochasticLWTA):
        return _deciding(network, dissection)
    return _measured(network, dissection, layer)


def _deciding(network: "nn.Module", dissection: Any) -> LiveNetwork:
    import torch

    from competition_layers import evaluating, inference_rule, votes
    from competition_layers.decision import SITE
    from dissect.recording.subject import architecture, competitors_of, label_names

    preparation = preparation_of(network)
    blank = torch.zeros(2, 3, preparation.height, preparation.width)
    with torch.no_grad(), inference_rule(network, "argmax"), evaluating(network):
        cast = votes(network, blank)
        content = _onnx(_with_winners(network), (blank[:1],), (INPUT,), OUTPUTS)
    weights = cast.weights.cpu().numpy()
    return LiveNetwork(
        onnx=content,
        labels=label_names(network) or tuple(f"class {i}" for i in range(len(weights))),
        preparation=preparation,
        weights=weights,
        bias=tuple(cast.bias.tolist()),
        units=_names(network, dissection, SITE, weights.shape[1]),
        competitors=competitors_of(network.get_submodule(SITE)),
        places=_square(cast.places),
        architecture=architecture(network),
    )


def _measured(network: "nn.Module", dissection: Any, layer: str | None) -> LiveNetwork:
    import torch

    from competition_layers import evaluating, inference_rule
    from competition_layers.attribution import contributions
    from dissect.explaining.places import grid_of
    from dissect.recording.subject import architecture, competitors_of, default_layer, label_names

    from ..exported import onnx_compatible

    preparation = preparation_of(network)
    picture = torch.rand(1, 3, preparation.height, preparation.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), inference_rule(network, "argmax"), evaluating(network):
        layer = layer or default_layer(network, picture)
        found = contributions(network, picture, layer)
        reaches, units = found.reaches[0], found.output.shape[-1]
        switched = with_switches(network, onnx_compatible(network), layer, picture)
        content = _onnx(switched, (picture, torch.ones(ROWS, units)), INPUTS, MEASURED)
    grid = grid_of(network, found)
    seen_whole = grid is not None and bool(reaches[-grid[0] * grid[1] :].all())
    return LiveNetwork(
        onnx=content,
        labels=label_names(network) or tuple(f"class {i}" for i in range(found.logits.shape[1])),
        preparation=preparation,
        weights=None,
        bias=(),
        units=_names(network, dissection, layer, units),
        competitors=competitors_of(network.get_submodule(layer)),
        places=grid if seen_whole else None,
        architecture=architecture(network),
        layer=layer,
        rows=ROWS,
        reaches=tuple(reaches.tolist()),
    )


def _names(network: "nn.Module", dissection: Any, layer: str, units: int) -> tuple[UnitName, ...]:
    from dissect.explaining.unit_effects import unit_name

    known = dissection if dissection is not None and layer in dissection.layers else None
    return tuple(unit_name(network, known, layer, unit) for unit in range(units))


def preparation_of(network: "nn.Module") -> Preparation:
    """How the network's pictures are prepared.

    Raises:
        ValueError: not as timm says it, or in a way that the page does not know.
    """
    from competition_layers import data_config

    if callable(getattr(network, "image_transform", None)):
        raise ValueError("Expected a network whose pictures timm prepares for a live page but it has its own way")
    config = data_config(network)
    channels, height, width = config["input_size"]
    if channels != 3:
        raise ValueError(f"Expected a network of colour pictures for a live page but it takes {channels} channels")
    names = ("crop_mode", "interpolation", "mean", "std")
    return Preparation(height, width, config["crop_pct"] or 0.875, *(config[name] for name in names))


def _square(places: tuple[int, ...]) -> tuple[int, int] | None:
    """Rows and columns of the positions; None of a pooled layer, or of tokens that are no square."""
    from math import isqrt

    if len(places) == 2:
        return places[0], places[1]
    side = isqrt(places[0]) if places else 0
    return (side, side) if side > 1 and side * side == places[0] else None


def _with_winners(network: "nn.Module") -> "nn.Module":
    """The network with its winners and their values beside the logits."""
    import torch

    from competition_layers.decision import decision_features
    from competition_layers.groups import grouped, winner_units

    from ..exported import onnx_compatible

    plain = onnx_compatible(network)
    groups = network.get_submodule("decision").groups

    class WithWinners(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = plain

        def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
            h: Any = self.network.decision_units(decision_features(self.network, images))  # type: ignore[operator]
            z, axis = grouped(h, groups)
            units = winner_units(z.argmax(axis).to(torch.uint8), groups)
            y: Any = self.network.decision(h)  # type: ignore[operator]
            logits: Any = self.network.decision_votes(y if y.ndim == 2 else y.flatten(1, -2).mean(1))  # type: ignore[operator]
            flat = (len(images), -1, units.shape[-1])
            return logits, units.reshape(flat).int(), y.gather(-1, units).reshape(flat)

    return WithWinners().eval()


def _onnx(network: "nn.Module", inputs: "tuple[Tensor, ...]", takes: tuple[str, ...], gives: tuple[str, ...]) -> bytes:
    import torch

    program = torch.onnx.export(
        network, inputs, dynamo=True, input_names=list(takes), output_names=list(gives), verbose=False
    )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()
