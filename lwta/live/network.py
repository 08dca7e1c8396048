"""A network that ends in a decision layer as ONNX, with its winners and their values as outputs beside the logits."""

import io
from typing import TYPE_CHECKING, Any

from dissect.report.live import LiveNetwork, Preparation

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUT, OUTPUTS = "images", ("logits", "units", "values")


def refuse_others(network: "nn.Module") -> None:
    """Refuse, before any work, a network that a page cannot run.

    Raises:
        ValueError: nothing competes in a decision layer, or pictures are prepared in a way that the page does not know.
    """
    from competition_layers import StochasticLWTA
    from competition_layers.decision import SITE, has_decision
    from dissect.recording.subject import architecture

    if not (has_decision(network) and isinstance(network.get_submodule(SITE), StochasticLWTA)):
        raise ValueError(
            f"Expected a network that ends in a decision layer for a live page but {architecture(network)} does not; "
            "`model.decision` in a recipe of `lwta fit` adds one, to a trained network in seconds (docs/decision.md)"
        )
    preparation_of(network)


def live_network(network: "nn.Module", dissection: Any = None) -> LiveNetwork:
    """`network` as a page runs it, its winners by argmax; with a dissection its units have names and exemplars.

    Raises:
        ValueError: see `refuse_others`.
    """
    import torch

    from competition_layers import evaluating, inference_rule
    from competition_layers.decision import SITE, votes
    from dissect.explaining.unit_effects import unit_name
    from dissect.recording.subject import architecture, competitors_of, label_names

    refuse_others(network)
    preparation = preparation_of(network)
    blank = torch.zeros(2, 3, preparation.height, preparation.width)
    with torch.no_grad(), inference_rule(network, "argmax"), evaluating(network):
        cast = votes(network, blank)
        content = _onnx(_with_winners(network), blank[:1])
    weights = cast.weights.cpu().numpy()
    named = dissection is not None and SITE in dissection.layers
    return LiveNetwork(
        onnx=content,
        labels=label_names(network) or tuple(f"class {i}" for i in range(len(weights))),
        preparation=preparation,
        weights=weights,
        bias=tuple(cast.bias.tolist()),
        units=tuple(unit_name(network, dissection if named else None, SITE, unit) for unit in range(weights.shape[1])),
        competitors=competitors_of(network.get_submodule(SITE)),
        places=_square(cast.places),
        architecture=architecture(network),
    )


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

    from ..commands.export import onnx_compatible

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


def _onnx(network: "nn.Module", images: "Tensor") -> bytes:
    import torch

    program = torch.onnx.export(
        network, (images,), dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS), verbose=False
    )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()
