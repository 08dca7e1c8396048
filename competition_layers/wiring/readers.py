"""Who reads a competition: seen in one pass, not guessed from names.

A Linear that is its only reader can read the winners alone (`projection`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..inference import inference_rule
from ..layers import StochasticLWTA
from ..surgery import competitions

# Above so many weights (2 MB: no longer in a core's cache) half of the columns cost more than the dense product
# (benchmarks/inference.py --crossover); a quarter never did.
_MOST_WEIGHTS_OF_PAIRS = 2**19


@dataclass(frozen=True)
class WinnerPairs:
    """Which Linear reads which competition, by name; and the competitions that are left alone, with the reason."""

    linear: dict[str, str]
    left_alone: dict[str, str]


@torch.inference_mode(False)  # versions of tensors are counted outside of it alone
@torch.no_grad()
def winner_pairs(model: nn.Module, example: Tensor | None = None) -> WinnerPairs:
    """Find, in one pass of `example` in evaluation mode, the Linear that reads a competition with nothing between.

    Raises:
        ValueError: a model that does not know the size of its images, and no example.
    """
    layers = competitions(model)
    linears = {name: m for name, m in model.named_modules() if type(m) is nn.Linear}
    watch = _Watch()
    hooks = [layer.register_forward_hook(watch.output_of(name)) for name, layer in layers.items()]
    hooks += [linear.register_forward_pre_hook(watch.input_of(name)) for name, linear in linears.items()]
    training = {module: module.training for module in model.modules()}
    try:
        with inference_rule(model.eval(), "argmax"), watch:
            output = model(_blank(model) if example is None else example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    watch.leaves(output)
    found, left_alone = {}, {}
    for name, layer in layers.items():
        reader, reason = watch.reader(name)
        reason = reason or _why_not(layer, watch.outputs[name][0].ndim, linears[reader], watch.runs[reader])
        if reason:
            left_alone[name] = reason
        else:
            found[name] = reader
    return WinnerPairs(found, left_alone)


def _blank(model: nn.Module) -> Tensor:
    size = getattr(getattr(model, "lwta", None), "pretrained_cfg", {}).get("input_size")
    if size is None:
        raise ValueError(
            f"Expected an example input for {type(model).__name__}, which does not say the size of its images"
        )
    return torch.zeros(1, *size)


class _Watch(TorchFunctionMode):
    """Sees every torch function that is called with the output of a competition."""

    # what asks a tensor for its form, and reads no value
    _FORM = frozenset({"__get__", "size", "dim", "ndimension", "stride", "numel", "is_contiguous", "is_floating_point"})

    def __init__(self):
        super().__init__()
        self.outputs: dict[str, list[Tensor]] = {}  # kept, so that an identity is not given twice
        self.readers: dict[str, list[str]] = {}
        self.linear: dict[str, str] = {}
        self.runs: dict[str, int] = {}

    def output_of(self, name: str) -> Callable:
        def hook(module, inputs, output):
            self.outputs.setdefault(name, []).append(output)

        return hook

    def input_of(self, name: str) -> Callable:
        def hook(module, inputs):
            self.runs[name] = self.runs.get(name, 0) + 1
            for source in self._sources(inputs):
                self.linear[source] = name

        return hook

    def __torch_function__(self, function, types, args=(), kwargs=None):
        sources = self._sources((args, kwargs or {}))
        before = [self.outputs[source][0]._version for source in sources]
        result = function(*args, **(kwargs or {}))
        for source, version in zip(sources, before, strict=True):
            tensor = self.outputs[source][0]
            untouched = tensor._version == version
            if not (untouched and (result is tensor or self._asks_form(function, result))):
                self.readers.setdefault(source, []).append(getattr(function, "__name__", str(function)))
        return result

    def leaves(self, output) -> None:
        """What leaves the model is read by whoever called it."""
        for source in self._sources(output):
            self.readers.setdefault(source, []).append("the caller")

    def reader(self, name: str) -> tuple[str, str]:
        """The one Linear that reads a competition, or why there is none."""
        runs, readers = len(self.outputs.get(name, ())), self.readers.get(name, [])
        if runs != 1:
            return "", f"it ran {runs} times"
        if readers == ["linear"] and name in self.linear:
            return self.linear[name], ""
        return "", f"read by {', '.join(readers) or 'nobody'}"

    def _asks_form(self, function, result) -> bool:
        return not isinstance(result, Tensor) and getattr(function, "__name__", "") in self._FORM

    def _sources(self, values) -> list[str]:
        seen = {id(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}
        return [name for name, tensors in self.outputs.items() if id(tensors[0]) in seen]


def _why_not(layer: StochasticLWTA, ndim: int, linear: nn.Linear, runs: int) -> str:
    """Why a Linear that reads a competition should go on as it does, or nothing."""
    if layer.groups.channel_dim % ndim != ndim - 1:
        return f"its units are on axis {layer.groups.channel_dim}, not on the last"
    if runs != 1:
        return f"its Linear ran {runs} times"
    if layer.groups.competitors == 2 and linear.weight.numel() > _MOST_WEIGHTS_OF_PAIRS:
        return f"half of {linear.in_features} x {linear.out_features} weights are not read faster than all of them"
    return ""
