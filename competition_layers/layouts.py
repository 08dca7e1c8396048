"""Exact conversion of a network between the two layouts: the channels of each competition are permuted."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from .competition import LAYOUTS, Layout, check_choice
from .inference import predict
from .names import match_names
from .surgery import competitions

_CONV = nn.modules.conv._ConvNd


@torch.no_grad()
def convert_layout(model: nn.Module, layout: Layout, x: Tensor, *, names: str = "*") -> None:
    """Change `model` in place, its weights too: its competitions have `layout`, and it computes what it did before.

    The rows of the layer that feeds a competition are permuted, the columns of the layer that follows it, and what
    stands between them channel by channel. Both are found by the order of registration, so the outputs for `x` are
    compared before and after, in evaluation mode by the `argmax` rule; on any error the model stays as it was.

    Args:
        x: a batch of input.
        names: globs on competitions; the others keep their layout.

    Raises:
        ValueError: a competition, by name, that does not stand alone between two Linear or convolution layers (one on a
            residual stream, for instance).
    """
    check_choice("layout", layout, LAYOUTS)
    layers = competitions(model)
    chosen = [
        name for name in match_names(names, list(layers), what="competition") if layers[name].groups.layout != layout
    ]
    saved = {key: value.clone() for key, value in model.state_dict().items()}
    leaves = [(name, module) for name, module in model.named_modules() if next(module.children(), None) is None]
    at = {name: i for i, (name, _) in enumerate(leaves)}
    done = []
    try:
        before = predict(model, x, samples=0)
        for name in chosen:
            order = layout_permutation(_width(leaves[: at[name]], name), layers[name].groups.competitors, to=layout)
            _permute(reversed(leaves[: at[name]]), order, name, rows=True)
            _permute(iter(leaves[at[name] + 1 :]), order, name, rows=False)
            layers[name].competition = replace(layers[name].competition, layout=layout)
            done.append(name)
            if not torch.allclose(predict(model, x, samples=0), before, rtol=1e-4, atol=1e-5):
                raise _cannot(name, "the outputs changed")
    except BaseException:
        model.load_state_dict(saved)
        for name in done:
            former: Layout = "adjacent" if layout == "strided" else "strided"
            layers[name].competition = replace(layers[name].competition, layout=former)
        raise


def layout_permutation(width: int, competitors: int, *, to: Layout) -> Tensor:
    """The channels of the other layout in the order of layout `to`: `new = old[permutation]`.

    >>> layout_permutation(6, 2, to="adjacent")
    tensor([0, 3, 1, 4, 2, 5])
    """
    rows = competitors if to == "adjacent" else width // competitors
    return torch.arange(width).view(rows, -1).T.flatten()


def _permute(leaves, order: Tensor, competition: str, *, rows: bool) -> None:
    """Permute channels up to the layer that mixes them: its rows on the way back, its columns on the way on."""
    width = len(order)
    for name, module in leaves:
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        if isinstance(module, nn.Linear) or (isinstance(module, _CONV) and module.groups == 1):
            if module.weight.shape[0 if rows else 1] != width:
                raise _cannot(competition, f"{name} has {tuple(module.weight.shape)}")
            for tensor in tensors.values() if rows else [module.weight]:
                tensor.copy_(tensor.index_select(0 if rows else 1, order.to(tensor.device)))
            return
        for tensor in tensors.values():  # channel by channel: norms, scales, depthwise convolutions
            if tensor.ndim and (tensor.shape[0] != width or any(n == width for n in tensor.shape[1:])):
                raise _cannot(competition, f"{name} has {tuple(tensor.shape)}")
            if tensor.ndim:
                tensor.copy_(tensor.index_select(0, order.to(tensor.device)))
    raise _cannot(competition, "nothing feeds it" if rows else "nothing follows it")


def _width(leaves, competition: str) -> int:
    for _, module in reversed(leaves):
        if isinstance(module, nn.Linear | _CONV):
            return module.weight.shape[0]
    raise _cannot(competition, "nothing feeds it")


def _cannot(name: str, why: str) -> ValueError:
    return ValueError(
        f"Expected competition {name!r} to stand alone between two Linear or convolution layers but {why}; "
        "leave it out by names=..."
    )
