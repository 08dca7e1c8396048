"""Which axis of a layer's output holds its units."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..layers import competitions
from .graph import Node
from .trace import trace


def channel_axes(model: nn.Module, layers: Sequence[str], x: Tensor) -> dict[str, int]:
    """The axis of the units in the output of each of `layers`: counted from 0, or -1.

    A competition knows it, and so does a site that `model.lwta` lists (the dense twin has the same sites). Elsewhere
    channels are followed through one pass of the first image of `x`, see `channels`; of two axes it is the last.

    Raises:
        ValueError: a layer that does not run once, that gives no tensor of at least two axes, or whose channels cannot
            be followed; by name.
    """
    known = {site.name: site.channel_dim for site in getattr(getattr(model, "lwta", None), "sites", ())}
    known |= {name: layer.groups.channel_dim for name, layer in competitions(model).items()}
    calls = {} if known.keys() >= set(layers) else trace(model, x[:1]).calls
    return {name: known[name] if name in known else _followed(name, calls.get(name, ())) for name in layers}


def channel_axis(model: nn.Module, layer: str, x: Tensor) -> int:
    """`channel_axes` of one layer."""
    return channel_axes(model, [layer], x)[layer]


def _followed(layer: str, calls: Sequence[Node]) -> int:
    if len(calls) != 1:
        raise ValueError(f"Expected layer {layer!r} to run once in a pass but got {len(calls)} calls")
    gives = calls[0].gives
    if len(gives) != 1 or len(gives[0].shape) < 2:
        got = gives[0].shape if len(gives) == 1 else f"{len(gives)} tensors"
        raise ValueError(f"Expected layer {layer!r} to give one tensor (images, ..., units) but got {got}")
    axis = 1 if len(gives[0].shape) == 2 else gives[0].axis
    if axis is None:
        raise ValueError(f"Expected layer {layer!r} to have its units on one axis but none could be followed there")
    return axis
