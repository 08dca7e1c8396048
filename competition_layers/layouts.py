"""Exact conversion of a network between the two layouts: a permutation of channels, and a flag."""

import torch
from torch import Tensor, nn

from .checks import check_choice
from .competition import LAYOUTS, Layout
from .layers import competitions
from .names import match_names
from .wiring.permutation import neighbours, permute_units


def convert_layout(model: nn.Module, layout: Layout, x: Tensor, *, names: str = "*") -> None:
    """Change `model` in place, its weights too: its competitions have `layout`, and it computes what it did before.

    On any error the model stays as it was.

    Args:
        x: a batch of input; outputs are compared before and after, by the `argmax` rule.
        names: globs on competitions; the others keep their layout.

    Raises:
        ValueError: a competition whose units cannot be renumbered, see `permute_units`; leave it out by `names`.
    """
    check_choice("layout", layout, LAYOUTS)
    layers = competitions(model)
    chosen = [
        name for name in match_names(names, list(layers), what="competition") if layers[name].groups.layout != layout
    ]
    done: list[str] = []
    try:
        for name in chosen:
            _convert(model, name, layout, x)
            done.append(name)
    except BaseException:
        for name in done:
            _convert(model, name, "adjacent" if layout == "strided" else "strided", x)
        raise


def layout_permutation(width: int, competitors: int, *, to: Layout) -> Tensor:
    """The channels of the other layout in the order of layout `to`: `new = old[permutation]`.

    >>> layout_permutation(6, 2, to="adjacent")
    tensor([0, 3, 1, 4, 2, 5])
    """
    rows = competitors if to == "adjacent" else width // competitors
    return torch.arange(width).view(rows, -1).T.flatten()


def _convert(model: nn.Module, name: str, layout: Layout, x: Tensor) -> None:
    layer, around = competitions(model)[name], neighbours(model, name, x=x)
    order = layout_permutation(around.width, layer.groups.competitors, to=layout)
    permute_units(model, around, order, x=x, layout=layout)
