"""Renumber the units of a site: the channels of the weights around it are permuted, and the network computes the same.

The weights that feed the site give up their rows, those that follow it their columns, and whatever stands between and
treats channels one by one (batch norm, layer norm) goes along. The neighbours are found by one pass, in the order in
which modules start; whether they are the right ones is not assumed but tried: outputs are compared before and after.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..observing import observe

_TOLERANCE = 1e-3  # of the largest output; a wrong neighbour changes outputs by their own size


@dataclass(frozen=True)
class Neighbours:
    """The modules around a site whose weights are numbered by its units, by dotted name."""

    feeds: str
    between: tuple[str, ...]
    follows: str

    @torch.no_grad()
    def permute(self, model: nn.Module, order: Int[Tensor, "units"]) -> None:
        """Change `model` in place: what was unit `order[i]` is now unit i, in every weight around the site."""
        for name in (self.feeds, *self.between):
            for tensor in _own(model.get_submodule(name)):
                if tensor.shape[0] == len(order):  # not a bias shared by all rows
                    tensor.copy_(tensor[order.to(tensor.device)])
        weight = model.get_submodule(self.follows).weight
        weight.copy_(weight[:, order.to(weight.device)])


def permute_units(
    model: nn.Module, site: str, order: Int[Tensor, "units"], *, x: Float[Tensor, "images channels height width"]
) -> None:
    """Change `model` in place: at `site`, unit i becomes what unit `order[i]` was; the function stays the same.

    Args:
        site: an activation's dotted name; it must treat its units alike (a dense activation, not a competition).
        x: images that the network is tried with, before and after.

    Raises:
        ValueError: the weights around the site cannot be permuted (a residual stream, grouped convolutions, a
            flattened map): the module in the way is named, and `model` is as it was.
    """
    around = neighbours(model, site, len(order), x=x)
    before = _outputs(model, around.follows, x)
    around.permute(model, order)
    after = _outputs(model, around.follows, x)
    if not all((a - b).abs().max() <= _TOLERANCE * b.abs().max() for a, b in zip(after, before, strict=True)):
        around.permute(model, order.argsort())
        raise ValueError(
            f"Expected the units of {site!r} to be read by {around.follows!r} alone, and fed by {around.feeds!r} "
            "alone, but they are used elsewhere too (a residual stream, a gate)"
        )


def neighbours(
    model: nn.Module, site: str, width: int, *, x: Float[Tensor, "images channels height width"]
) -> Neighbours:
    """The modules around `site`, which has `width` units, in the order of one pass of `x`.

    Raises:
        ValueError: a module on the way is neither numbered by the units nor free of weights; it is named.
    """
    ran = _order(model, x)
    at = ran.index(site)
    feeds, before = _walk(model, ran[:at][::-1], width, site, axis=0)
    follows, after = _walk(model, ran[at + 1 :], width, site, axis=1)
    return Neighbours(feeds, (*before, *after), follows)


def _walk(model: nn.Module, names: list[str], width: int, site: str, *, axis: int) -> tuple[str, list[str]]:
    """The first module whose weight has the units on `axis`, and the channel-wise ones that were passed."""
    passed: list[str] = []
    for name in names:
        module = model.get_submodule(name)
        own = _own(module)
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            if getattr(module, "groups", 1) == 1 and module.weight.shape[axis] == width:
                return name, passed
        elif all(tensor.shape == (width,) for tensor in own):
            passed += [name] if own else []
            continue
        raise ValueError(
            f"Expected weights of {width} units {('before', 'after')[axis]} {site!r} but got {name!r} "
            f"({type(module).__name__}), which cannot be renumbered with it"
        )
    raise ValueError(f"Expected a layer with weights {('before', 'after')[axis]} {site!r} but found none")


def _own(module: nn.Module) -> list[Tensor]:
    """A module's own parameters and buffers, without single numbers."""
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return [tensor for tensor in tensors if tensor.ndim]


def _order(model: nn.Module, x: Tensor) -> list[str]:
    """The names of all modules in the order in which they start in one pass; evaluation mode."""
    ran: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda _, __, name=name: ran.append(name))
        for name, module in model.named_modules()
        if name
    ]
    try:
        _pass(model, x)
    finally:
        for handle in handles:
            handle.remove()
    return ran


def _outputs(model: nn.Module, name: str, x: Tensor) -> list[Tensor]:
    """What the module `name` gives, and what the model gives."""
    with observe(model, [name], read=lambda _, tensor: tensor.clone()) as seen:
        logits = _pass(model, x)
    return [seen[name], logits]


@torch.no_grad()
def _pass(model: nn.Module, x: Tensor) -> Tensor:
    training = model.training
    try:
        return model.eval()(x)
    finally:
        model.train(training)
