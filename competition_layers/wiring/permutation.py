"""Renumber the units of a site: the channels of the weights around it are permuted, and the network computes the same.

The weights that feed the site give up their rows, those that follow it their columns, and whatever stands between and
treats channels one by one (batch norm, layer norm, a depthwise convolution) goes along. Which these are is read off the
graph; whether they are the right ones is tried: outputs are compared before and after.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..competition import Layout
from ..inference import inference_rule, logits_of
from ..layers import StochasticLWTA
from ..modes import evaluating
from ..observing import observe
from .channels import MAPS
from .graph import Node, Value
from .trace import trace

_TOLERANCE = 1e-3  # of the largest output; a wrong neighbour changes outputs by their own size


@dataclass(frozen=True)
class Neighbours:
    """The modules whose weights are numbered by the units of a site, by dotted name; several after a sum."""

    site: str
    width: int
    feeds: tuple[str, ...]
    between: tuple[str, ...]
    follows: tuple[str, ...]

    @torch.no_grad()
    def permute(self, model: nn.Module, order: Int[Tensor, "units"]) -> None:
        """Change `model` in place: what was unit `order[i]` is now unit i, in every weight around the site."""
        for name in (*self.feeds, *self.between):
            for tensor in _own(model.get_submodule(name)):
                if tensor.shape[0] == len(order):  # not a bias shared by all rows
                    tensor.copy_(tensor[order.to(tensor.device)])
        for name in self.follows:
            weight = model.get_submodule(name).weight
            weight.copy_(weight[:, order.to(weight.device)])


def permute_units(
    model: nn.Module,
    site: str | Neighbours,
    order: Int[Tensor, "units"],
    *,
    x: Float[Tensor, "images channels height width"],
    layout: Layout | None = None,
) -> None:
    """Change `model` in place: at `site`, unit i becomes what unit `order[i]` was; the function stays the same.

    Args:
        site: an activation's dotted name, or its neighbours.
        x: images that the network is tried with, before and after.
        layout: of the competition there, which must have the groups that `order` makes.

    Raises:
        ValueError: the weights around the site cannot be permuted (grouped convolutions, a flattened map, another
            competition on the same residual stream): what is in the way is named, and `model` is as it was.
    """
    around = neighbours(model, site, x=x) if isinstance(site, str) else site
    layer: Any = model.get_submodule(around.site)
    before, old = _outputs(model, around, x), layout and layer.competition
    around.permute(model, order)
    if layout:
        layer.competition = replace(layer.competition, layout=layout)
    after = _outputs(model, around, x)
    if not all((a - b).abs().max() <= _TOLERANCE * b.abs().max() for a, b in zip(after, before, strict=True)):
        around.permute(model, order.argsort())
        if layout:
            layer.competition = old
        raise _cannot(around.site, f"the outputs changed with the rows of {', '.join(around.feeds)}")


def neighbours(model: nn.Module, site: str, *, x: Float[Tensor, "images channels height width"]) -> Neighbours:
    """The modules around `site` in the graph of a pass of the first of `x`.

    From the site on, all that is summed, scaled, normalised or pooled with its units is numbered as they are, up to the
    linear maps and convolutions that give it, and those that read it.

    Raises:
        ValueError: something on the way is neither numbered by the units nor free of weights; it is named.
    """
    graph = trace(model, x[:1])
    output = graph.calls[site][0].gives[0]
    width = output.shape[output.axis or 0]
    found: dict[str, dict[str, None]] = {"feeds": {}, "between": {}, "follows": {}}
    todo = [value for call in graph.calls[site] for value in (*call.reads[:1], *call.gives)]
    seen: set[Value] = set()
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.axis is None or value.shape[value.axis] != width:
            raise _cannot(site, f"there are channels of another kind beside its {width}, {_made_by(value)}")
        for node in (n for n in (value.maker, *value.readers) if n and not n.inside(site)):
            part = _part(model, node, value, width, site)
            if part:
                found[part][node.module] = None
            if part in ("", "between"):
                todo += [v for v in (*node.reads, *node.gives) if v.of_input]
    for part in ("feeds", "follows"):
        if not found[part]:
            raise _cannot(site, f"no layer with weights {part} it")
    again = [name for name in (*found["feeds"], *found["follows"]) if len(graph.calls[name]) != 1]
    if again:
        raise _cannot(site, f"{again[0]!r} runs {len(graph.calls[again[0]])} times in a pass")
    return Neighbours(site, width, **{part: tuple(names) for part, names in found.items()})


def _part(model: nn.Module, node: Node, value: Value, width: int, site: str) -> str:
    """What a function has to do with the units that it meets: it `feeds`, `follows`, stands `between`, or nothing."""
    module = model.get_submodule(node.module)
    if isinstance(module, StochasticLWTA):
        raise _cannot(site, f"the competition {node.module!r} has the same channels")
    if not node.gives:
        raise _cannot(site, f"{node.function!r} in {node.module!r} reads them")
    if node.function in MAPS:
        made = value in node.gives
        plain = isinstance(module._parameters.get("weight"), Tensor)
        groups = getattr(module, "groups", 1)
        if plain and groups == 1 and module.weight.shape[0 if made else 1] == width:
            return "feeds" if made else "follows"
        if plain and groups == width == len(module.weight):
            return "between"
    elif all(tensor.shape[0] == width for tensor in _own(module)):
        return "between" if _own(module) else ""
    raise _cannot(site, f"{node.module!r} ({type(module).__name__}) cannot be renumbered with it")


def _made_by(value: Value) -> str:
    return f"made by {value.maker.function!r} in {value.maker.module!r}" if value.maker else "the network's input"


def _cannot(site: str, why: str) -> ValueError:
    return ValueError(
        f"Expected layer {site!r} to share its units with nothing but layers that can be renumbered, but {why}; "
        "leave it out by name"
    )


def _own(module: nn.Module) -> list[Tensor]:
    """A module's own parameters and buffers, without single numbers."""
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return [tensor for tensor in tensors if tensor.numel() > 1]


@torch.no_grad()
def _outputs(model: nn.Module, around: Neighbours, x: Tensor) -> list[Tensor]:
    """What the modules that follow give, and what the model gives."""
    taken = observe(model, around.follows, read=lambda _, tensor: tensor.clone())
    with torch.no_grad(), evaluating(model), inference_rule(model, "argmax"), taken as seen:
        logits = logits_of(model, x)
    return [*seen.values(), logits]
