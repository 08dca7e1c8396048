"""Two approximations under which a decision is taken apart: winners as they fell, and layer norms of frozen scale."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .groups import winner_mask
from .layers import StochasticLWTA, competitions


@contextmanager
def winner_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block the gradient of a competition reaches its winners only, with weight 1.

    That is the gradient of what the network computed; the straight-through term that trains it would add the losers.
    """
    with ExitStack() as stack:
        for layer in competitions(model).values():
            stack.callback(layer.register_forward_hook(_pass_winners).remove)
        yield


@contextmanager
def frozen_norm_scale(model: nn.Module) -> Iterator[int]:
    """Inside the block every layer norm and RMS norm keeps the scale 1/sigma of its first pass, which makes it linear.

    Subtracting the mean is linear as it is. Yields how many norms there are. Later passes must see the same images.
    """
    norms = [module for module in model.modules() if _is_norm(module)]
    with ExitStack() as stack:
        for module in norms:
            stack.callback(module.register_forward_hook(_frozen_norm()).remove)
        yield len(norms)


def winners_of(layer: StochasticLWTA, h: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """The winners of the latest pass, whose input was `h`, as a mask: by index, so that a winner of value 0 counts.

    Nothing here is differentiated. On an input that requires a gradient the comparisons in place would tie each
    tensor to its own graph, and no batch would ever be freed.
    """
    return winner_mask(layer.winners(h.detach()), layer.groups)


def _pass_winners(layer: StochasticLWTA, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
    return inputs[0] * winners_of(layer, inputs[0])


def _is_norm(module: nn.Module) -> bool:
    # timm's RmsNorm and SimpleNorm are classes of their own; by name, because timm is not imported for this
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__ in ("RmsNorm", "RmsNorm2d")


def _frozen_norm() -> Callable:
    """A forward hook that computes the norm again, with the scale of the first pass as a constant."""
    scale: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        x = inputs[0]
        on_maps = type(module).__name__.endswith("2d")  # timm's LayerNorm2d: channels first, normalised over them
        axes = (1,) if on_maps else tuple(range(-len(module.normalized_shape), 0))
        if isinstance(module, nn.LayerNorm):
            x = x - x.mean(axes, keepdim=True)
        if not scale:
            eps = torch.finfo(x.dtype).eps if module.eps is None else module.eps
            scale.append((x.square().mean(axes, keepdim=True) + eps).rsqrt().detach())
        y = x * scale[0]
        for name, join in (("weight", torch.mul), ("bias", torch.add)):
            parameter = getattr(module, name, None)
            if parameter is not None:
                y = join(y, parameter[:, None, None] if on_maps else parameter)
        return y

    return hook
