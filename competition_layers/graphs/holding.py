"""A pass in which everything that bends is held as it fell, so that what is left of the network is linear."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_RECTIFIERS = ("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "hardtanh", "elu", "selu", "celu")
GATES = frozenset((*_RECTIFIERS, "gelu", "silu", "hardswish", "mish", "rms_norm", "normalize"))
CONSTANTS = frozenset(("sigmoid", "sigmoid_", "hardsigmoid", "tanh", "softmax", "rsqrt"))


class Holding(TorchFunctionMode):
    """Inside the block these functions are linear in their input, with the constants of the first such block:

    an activation is its input times act(x) / x (for a ReLU its mask); a layer or group norm keeps its scale 1/sigma;
    an attention pattern depends on no query or key; pooling by maximum takes the place that was the largest; a sigmoid,
    a tanh or a softmax is a constant.

    Made afresh, the block remembers the constants; `again()` gives a block that meets them in the same order. What is
    not in this list stays as it is: whether the rest is linear is for a sum to show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Tensor, ...]] = []
        self._known: Iterator[tuple[Tensor, ...]] | None = None

    def again(self) -> "Holding":
        """A block of the same constants, for one more pass over the same image."""
        other = Holding()
        other._known = iter(self.held)
        return other

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        rule = _RULES.get(name)
        if rule is None and name not in GATES and name not in CONSTANTS:
            return func(*args, **kwargs)
        x, rest = args[0], args[1:]
        if rule is not None:
            return rule(self, x, *rest, **kwargs)
        options = {key: value for key, value in kwargs.items() if key != "inplace"}
        if name in CONSTANTS:
            return self.hold(lambda: (func(x.detach().clone(), *rest, **options),))[0]
        (gate,) = self.hold(lambda: (_ratio(func(x.detach().clone(), *rest, **options), x.detach()),))
        return x * gate

    def hold(self, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The constants of this call: made now and remembered, or those of the same call in the first block."""
        if self._known is not None:
            return next(self._known)
        with torch.no_grad():
            self.held.append(make())
        return self.held[-1]


def _ratio(y: Tensor, x: Tensor) -> Tensor:
    return torch.where(x == 0, 0, y / x)


def _layer_norm(
    holding: Holding, x: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    y = _scaled(holding, x - x.mean(axes, keepdim=True), axes, eps)
    return _affine(y, weight, bias)


def _group_norm(
    holding: Holding, x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    split = x.unflatten(1, (num_groups, -1))
    axes = tuple(range(2, split.ndim))
    y = _scaled(holding, split - split.mean(axes, keepdim=True), axes, eps).flatten(1, 2)
    shape = [1, -1] + [1] * (x.ndim - 2)
    return _affine(y, *(p if p is None else p.view(shape) for p in (weight, bias)))


def _scaled(holding: Holding, centred: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    (scale,) = holding.hold(lambda: ((centred.detach().square().mean(axes, keepdim=True) + eps).rsqrt(),))
    return centred * scale


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _attention(holding: Holding, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    query, key = holding.hold(lambda: (query.detach(), key.detach()))
    return F.scaled_dot_product_attention(query, key, value, *args, **kwargs)


def _max_pool2d(holding: Holding, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    def places() -> tuple[Tensor, ...]:
        kwargs.pop("return_indices", None)
        return (F.max_pool2d(x.detach(), *args, **kwargs, return_indices=True)[1],)  # type: ignore[return-value]

    (index,) = holding.hold(places)
    return x.flatten(2).gather(2, index.flatten(2)).view(index.shape)


_RULES: dict[str, Callable[..., Tensor]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "scaled_dot_product_attention": _attention,
    "max_pool2d": _max_pool2d,
}
