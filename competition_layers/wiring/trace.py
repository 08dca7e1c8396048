"""One pass of a blank input: which activations ran, on which channel axis, what fed them, and whether they open a gate.

The channel axis is followed from tensor to tensor. A layer with weights sets it (a linear map the last axis, a
convolution or batch norm axis 1), a permutation moves it, a reshape keeps it where as much lies behind it as before,
a product of matrices keeps that of its operands which is not summed over, anything else leaves it alone. Nothing is
concluded from names, classes or the order of registration.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# functions that set the channel axis of what they return
_FEEDING = {
    **dict.fromkeys(("linear", "layer_norm", "rms_norm"), -1),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "batch_norm", "group_norm", "instance_norm"), 1),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
}
_TURNS = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t")
_PERMUTATIONS = {
    *(getattr(home, name) for home in (torch, Tensor) for name in _TURNS),
    *(getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH")),
}
_RESHAPES = {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"}
_SUMS = {
    "add",
    "add_",
    "__add__",
    "__radd__",
    "__iadd__",
    "sub",
    "sub_",
    "__sub__",
    "__isub__",
    "cat",
    "concat",
    "stack",
}
_PRODUCTS = {"matmul", "__matmul__", "bmm", "mm"}
# what is bounded is a gate, not an activation of units: modules and functions
BOUNDED = {"Sigmoid", "LogSigmoid", "Hardsigmoid", "HardSigmoid", "HardSigmoidMe", "Tanh", "Hardtanh", "Softsign"}
BOUNDED |= {"Softmax", "Softmax2d", "Softmin", "LogSoftmax", "GLU"}
_GATES = {"sigmoid", "sigmoid_", "hardsigmoid", "tanh", "tanh_", "softmax", "log_softmax"}
_UNBOUNDED = ("relu", "relu6", "gelu", "silu", "mish", "hardswish", "elu", "selu", "celu", "leaky_relu", "softplus")
_FUNCTIONS = {"prelu", "rrelu", *_UNBOUNDED, *(f"{name}_" for name in _UNBOUNDED)}


@dataclass(frozen=True)
class Call:
    """One call of an activation: of the module `name`, or of `function` in the forward of the module `name`."""

    name: str
    function: str
    shape: tuple[int, ...]
    channel_dim: int | None  # None where it could not be followed
    fed_by: tuple[str, ...]  # the layers it reads with but sums, reshapes and gates between: several after a sum
    of_input: bool  # whether it depends on the input at all
    gate: bool = False  # whether its one use is to be mapped, bounded and multiplied with, as in squeeze-and-excite


@torch.no_grad()
def trace(model: nn.Module, inputs: Tensor, activations: Mapping[nn.Module, str]) -> list[Call]:
    """The calls of one pass in evaluation mode, in order. `activations`: modules and their names. Leaves no trace."""
    tracer = _Tracer(model, activations)
    training = {module: module.training for module in model.modules()}
    inputs = inputs.detach().clone()
    inputs._seen = _Seen(of_input=True)  # type: ignore[attr-defined]
    try:
        with tracer.hooks(), tracer:
            model.eval().forward(inputs)
    finally:
        for module, mode in training.items():
            module.training = mode
    return [replace(call, gate=tracer.uses[i] == 1 and tracer.opens[i] > 0) for i, call in enumerate(tracer.calls)]


@dataclass(frozen=True)
class _Seen:
    """What is known of a tensor; it travels as its attribute."""

    axis: int | None = None
    fed_by: tuple[str, ...] = ()
    of_input: bool = False
    call: int | None = None  # this is what that call of an activation gave
    mapped: int | None = None  # a layer has mapped what that call gave, and no other layer has yet
    bounded: int | None = None  # and the result was bounded


class _Tracer(TorchFunctionMode):
    def __init__(self, model: nn.Module, activations: Mapping[nn.Module, str]):
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.activations = activations
        self.stack = [model]
        self.calls: list[Call] = []
        self.uses: list[int] = []
        self.opens: list[int] = []

    @contextmanager
    def hooks(self) -> Iterator[None]:
        with ExitStack() as handles:
            for module in self.names:
                handles.callback(module.register_forward_pre_hook(self.enter).remove)
                handles.callback(module.register_forward_hook(self.leave).remove)
            yield

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.stack.append(module)
        if module in self.activations:
            self.record(self.activations[module], "", inputs[0])

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.stack.pop()
        if module in self.activations and isinstance(output, Tensor):
            # the last call recorded is this one's: activations do not hold each other
            output._seen = replace(_seen(output), fed_by=(), call=len(self.calls) - 1)  # type: ignore[attr-defined]

    def record(self, name: str, function: str, x: Tensor) -> None:
        seen = _seen(x)
        axis = -1 if seen.axis == x.ndim - 1 else seen.axis
        self.calls.append(Call(name, function, tuple(x.shape), axis, seen.fed_by, seen.of_input))
        self.uses.append(0)
        self.opens.append(0)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, inside = getattr(func, "__name__", ""), self.stack[-1]
        tensors = [x for x in _flat((args, *kwargs.values())) if isinstance(x, Tensor)]
        shapes = [tuple(x.shape) for x in tensors]  # an in-place function may change them
        outside = not any(m in self.activations and type(m).__name__ not in BOUNDED for m in self.stack)
        if outside and name in _FUNCTIONS:
            self.record(self.names[inside], name, tensors[0])
        output = func(*args, **kwargs)
        made = [y for y in _flat([output]) if isinstance(y, Tensor)]
        if not made or not tensors:
            return output
        before = [_seen(x) for x in tensors]
        for seen in before if outside else ():
            if seen.call is not None:
                self.uses[seen.call] += 1
            if seen.bounded is not None and "mul" in name:
                self.opens[seen.bounded] += 1
        for y in made:
            y._seen = self._after(func, args, kwargs, [*zip(shapes, before, strict=True)], y)  # type: ignore[attr-defined]
        return output

    def _after(self, func: Any, args: Any, kwargs: Any, before: list[tuple[tuple, _Seen]], y: Tensor) -> _Seen:
        name = getattr(func, "__name__", "")
        of_input = any(seen.of_input for _, seen in before)
        if name in _FEEDING:
            first = before[0][1]
            mapped = first.mapped if name.endswith("norm") else first.call
            return _Seen(_FEEDING[name] % y.ndim, (self.names[self.stack[-1]],), of_input, mapped=mapped)
        if name in _RESHAPES or func in _PERMUTATIONS:
            before = before[:1]  # a second tensor lends its shape
        elif name in _PRODUCTS:
            before = _not_summed(*before[:2])
        known = [(shape, seen) for shape, seen in before if seen.axis is not None]
        if not known:
            return _Seen(of_input=of_input)
        shape, seen = next((k for k in known if k[0] == tuple(y.shape)), known[0])
        axis = _moved(func, args, kwargs, shape, seen.axis, tuple(y.shape))
        fed_by = seen.fed_by
        if name in _SUMS:
            fed_by = tuple(dict.fromkeys(layer for _, other in known for layer in other.fed_by))
        return _Seen(axis, fed_by, of_input, None, seen.mapped, seen.mapped if name in _GATES else seen.bounded)


def _seen(x: Tensor) -> _Seen:
    return getattr(x, "_seen", _Seen())


def _not_summed(a: tuple[tuple, _Seen], b: tuple[tuple, _Seen]) -> list[tuple[tuple, _Seen]]:
    """The factors of a @ b whose channel axis is an axis of the product: b's columns, else a's rows."""
    if b[1].axis == len(b[0]) - 1:
        return [b]
    return [a] if a[1].axis != len(a[0]) - 1 else []


def _moved(func: Any, args: Any, kwargs: Any, x: tuple[int, ...], axis: int, y: tuple[int, ...]) -> int | None:
    """Where the channel axis of a tensor of shape `x` stands in the `y` that `func` made of it, if it can be told."""
    if func in _PERMUTATIONS and len(x) == len(y):
        # asked of torch itself, with a tensor whose sizes number its axes
        numbered = torch.empty(tuple(range(2, len(x) + 2)), device="meta")
        return tuple(func(numbered, *args[1:], **kwargs).shape).index(axis + 2)
    if getattr(func, "__name__", "") not in _RESHAPES and len(x) == len(y):
        return axis
    # of several (axes of size 1) the one that kept its size
    behind = [a for a in range(len(y)) if prod(y[a + 1 :]) == prod(x[axis + 1 :])]
    alike = [a for a in behind or range(1, len(y)) if y[a] == x[axis]]
    if behind:
        return (alike or behind)[0]
    return alike[0] if len(alike) == 1 else None  # a mean over positions: the only axis of its size


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
