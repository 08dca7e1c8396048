"""A network without a decision layer as ONNX: its logits in several rows, in each of which other units are off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUTS, OUTPUTS = ("images", "keep"), ("logits", "values")
ROWS = 33  # the network as it is, and without each of the strongest units


def with_switches(network: "nn.Module", plain: "nn.Module", layer: str, image: "Tensor") -> "nn.Module":
    """A module that takes an image and `keep` [rows, units], 1 or 0, and gives the logits of each row and what `layer`
    gave with all units on [1, positions, units]. What lies before the layer runs once.

    Args:
        plain: the copy of `network` that is exported.
    """
    import torch

    from competition_layers.attribution import flat_positions
    from competition_layers.inference import logits_of
    from competition_layers.wiring.axes import channel_axis

    axis = channel_axis(network, layer, image)

    class WithSwitches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = plain

        def forward(self, images: "Tensor", keep: "Tensor") -> "tuple[Tensor, Tensor]":
            seen: list[Tensor] = []

            def switch(module: "nn.Module", inputs: Any, output: "Tensor") -> "Tensor":
                seen.append(flat_positions(output, axis))
                shape = [len(keep)] + [1] * (output.ndim - 1)
                shape[axis] = keep.shape[1]
                return output * keep.view(shape)

            with _hooked(self.network.get_submodule(layer), switch):
                logits = logits_of(self.network, images)
            return logits, seen[0]

    return WithSwitches().eval()


@contextmanager
def _hooked(module: "nn.Module", hook: Any) -> "Iterator[None]":
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
