"""What functions do to the channel axis.

A layer with weights sets it (a linear map the last axis, a convolution or batch norm axis 1), a permutation moves it, a
reshape keeps it where as much lies behind it as before, a product of matrices keeps that of its operands which is not
summed over, anything else leaves it alone.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from .graph import Value

# functions with weights, and the axis of the channels that they give
MAPS = {
    "linear": -1,
    **dict.fromkeys((f"conv{n}d" for n in (1, 2, 3)), 1),
    **dict.fromkeys((f"conv_transpose{n}d" for n in (1, 2, 3)), 1),
}
NORMS = {"layer_norm": -1, "rms_norm": -1, "batch_norm": 1, "group_norm": 1, "instance_norm": 1}
LAYERS = MAPS | NORMS

_TURNS = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t")
_PERMUTATIONS = {
    *(getattr(home, name) for home in (torch, Tensor) for name in _TURNS),
    *(getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH")),
}
_RESHAPES = {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"}
_SUMS = {"cat", "concat", "concatenate", "stack"}
_SUMS |= {name.format(what) for what in ("add", "sub") for name in ("{}", "{}_", "__{}__", "__r{}__", "__i{}__")}
_PRODUCTS = {"matmul", "__matmul__", "bmm", "mm"}


def carried(func: Callable, reads: Sequence[Value], shape: tuple[int, ...]) -> tuple[Value, ...]:
    """Those of `reads` whose channels are those of what `func` made of them, in `shape`: several after a sum."""
    name = name_of(func)
    if name in LAYERS:
        return ()
    if name in _RESHAPES or func in _PERMUTATIONS:
        reads = reads[:1]  # a second tensor lends its shape
    elif name in _PRODUCTS:
        reads = _not_summed(*reads[:2])
    elif name == "scaled_dot_product_attention":
        reads = reads[2:3]
    known = [value for value in reads if value.axis is not None]
    known.sort(key=lambda value: value.shape != shape)
    return tuple(known if name in _SUMS else known[:1])


def axis_after(func: Callable, args: Sequence, kwargs: Mapping, source: Value | None, y: tuple[int, ...]) -> int | None:
    """Where the channel axis of `source` stands in the tensor of shape `y` that `func` made, if it can be told."""
    name = name_of(func)
    if name in LAYERS:
        return LAYERS[name] % len(y)
    if source is None or source.axis is None:
        return None
    x, axis = source.shape, source.axis
    if func in _PERMUTATIONS and len(x) == len(y):
        # asked of torch itself, with a tensor whose sizes number its axes
        numbered = torch.empty(tuple(range(2, len(x) + 2)), device="meta")
        return tuple(func(numbered, *args[1:], **kwargs).shape).index(axis + 2)
    if name not in _RESHAPES and len(x) == len(y):
        return axis
    # of several (axes of size 1) the one that kept its size
    behind = [a for a in range(len(y)) if prod(y[a + 1 :]) == prod(x[axis + 1 :])]
    alike = [a for a in behind or range(1, len(y)) if y[a] == x[axis]]
    if behind:
        return (alike or behind)[0]
    return alike[0] if len(alike) == 1 else None  # a mean over positions: the only axis of its size


def name_of(func: Any) -> str:
    """A function's name, as it stands in a graph."""
    return getattr(func, "__name__", "") or str(func)


def _not_summed(a: Value, b: Value) -> list[Value]:
    """The factors of a @ b whose channel axis is an axis of the product: b's columns, else a's rows."""
    if b.axis == len(b.shape) - 1:
        return [b]
    return [a] if a.axis != len(a.shape) - 1 else []
