"""What is held still while one decision is taken apart: later winners and the scale of layer norms."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from .groups import winner_mask
from .layers import StochasticLWTA
from .surgery import competitions


@contextmanager
def winner_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block a competition's gradient reaches its winners only.

    That is the gradient of what the network computed; the straight-through term that trains it would add the losers.
    """
    with ExitStack() as stack:
        for layer in competitions(model).values():
            handle = layer.register_forward_hook(lambda module, inputs, _: inputs[0] * who_won(module, inputs[0]))
            stack.callback(handle.remove)
        yield


@contextmanager
def frozen_norm_scale(model: nn.Module) -> Iterator[int]:
    """Inside the block every layer norm (and RMS norm) keeps the scale of its first pass, and so is linear.

    The mean it subtracts is linear as it is. Yields how many norms there are. Later passes must see the same images.
    """
    norms = [module for module in model.modules() if _is_norm(module)]
    with ExitStack() as stack:
        for module in norms:
            stack.callback(module.register_forward_hook(_linear_norm()).remove)
        yield len(norms)


def who_won(layer: StochasticLWTA, h: Tensor) -> Tensor:
    """The winners of `h` as a mask in its shape: by index, so that a winner of value 0 counts and a loser never."""
    return winner_mask(layer.winners(h), layer.competitors, channel_dim=layer.channel_dim, layout=layer.layout)


def _is_norm(module: nn.Module) -> bool:
    # timm's RmsNorm and SimpleNorm are classes of their own; by name, because timm is not imported for this
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__ in ("RmsNorm", "RmsNorm2d")


def _linear_norm() -> Callable:
    """A hook that computes the norm again, with the scale of the first pass as a constant."""
    held: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        x = inputs[0]
        on_maps = type(module).__name__.endswith("2d")  # timm's LayerNorm2d: channels first, normalised over them
        axes = (1,) if on_maps else tuple(range(-len(module.normalized_shape), 0))
        if isinstance(module, nn.LayerNorm):
            x = x - x.mean(axes, keepdim=True)
        if not held:
            eps = torch.finfo(x.dtype).eps if module.eps is None else module.eps
            held.append((x.square().mean(axes, keepdim=True) + eps).rsqrt().detach())
        y = x * held[0]
        for name, join in (("weight", torch.mul), ("bias", torch.add)):
            parameter = getattr(module, name, None)
            if parameter is not None:
                y = join(y, parameter[:, None, None] if on_maps else parameter)
        return y

    return hook
