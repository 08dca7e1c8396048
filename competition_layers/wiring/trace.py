"""One pass through a network under a watch gives its graph; nothing is concluded from names or registration."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..inference import inference_rule
from ..layers import StochasticLWTA
from ..modes import evaluating
from .activations import is_activation
from .channels import axis_after, carried, name_of
from .graph import OUTPUT, Graph, Node, Value

# what asks a tensor for its form, and reads no value
_FORM = {"__get__", "__len__", "size", "dim", "ndimension", "stride", "numel", "is_contiguous", "is_floating_point"}


@torch.inference_mode(False)  # versions of tensors are counted outside of it alone
@torch.no_grad()
def trace(model: nn.Module, inputs: Tensor | None = None, *, of: Callable[[Tensor], Any] | None = None) -> Graph:
    """The graph of one pass of `inputs` in evaluation mode under `argmax`; the network is left as it was.

    Args:
        inputs: by default a blank one: an image as the model's config asks for it (timm's), or what a convolution of
            pictures (224 pixels a side) or a linear map of the network can read.
        of: a function that runs the network or a part of it, by default its forward.

    Raises:
        ValueError: no input given, and none found that the network takes.
    """
    blanks = blank_inputs(model) if inputs is None else [inputs.detach().clone()]
    with evaluating(model), inference_rule(model, "argmax"), _each_place_its_own(model):
        for x in blanks:
            try:
                return _Tracer(model).graph(of or model.forward, x)
            except RuntimeError:
                if x is blanks[-1]:
                    raise
    raise ValueError(f"Expected an example input for {type(model).__name__}, which does not say what it reads")


def blank_inputs(model: nn.Module) -> list[Tensor]:
    """Zeros in the shapes that `model` may read, a batch of one."""
    config = getattr(getattr(model, "lwta", model), "pretrained_cfg", None) or {}
    if config.get("input_size"):
        shapes = [tuple(config["input_size"])]
    else:
        layers = list(model.modules())
        shapes = [(layer.in_channels, 224, 224) for layer in layers if isinstance(layer, nn.Conv2d)]
        shapes += [(layer.in_features,) for layer in layers if isinstance(layer, nn.Linear)]
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return [torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device) for shape in dict.fromkeys(shapes)]


@contextmanager
def _each_place_its_own(model: nn.Module) -> Iterator[None]:
    """Inside the block no two places hold the same activation, so that it shows which of them ran."""
    seen: set[nn.Module] = set()
    with ExitStack() as back:
        for parent in list(model.modules()):
            for child, module in parent._modules.items():
                if module in seen and is_activation(module) and not isinstance(module, StochasticLWTA):
                    back.callback(setattr, parent, child, module)
                    setattr(parent, child, deepcopy(module))
                elif module is not None:
                    seen.add(module)
        yield


class _Tracer(TorchFunctionMode):
    """Keeps the value of a tensor as an attribute of the tensor, while the pass lasts."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.running = [""]
        self.entered: list[tuple[Value, ...]] = []
        self.nodes: list[Node] = []
        self.calls: dict[str, list[Node]] = {}
        self.marked: list[weakref.ref[Tensor]] = []

    def graph(self, function: Callable[[Tensor], Any], x: Tensor) -> Graph:
        try:
            self.mark(x, Value(tuple(x.shape), 1 if x.ndim == 4 else None, of_input=True))  # images: channels first
            with self.hooks(), self:
                answer = function(x)
            self.add(Node("", OUTPUT, self.values(answer)))
        finally:
            for marked in self.marked:
                tensor = marked()
                if tensor is not None:
                    del tensor._value
        return Graph(self.nodes, self.calls)

    def mark(self, tensor: Tensor, value: Value) -> None:
        if not hasattr(tensor, "_value"):
            self.marked.append(weakref.ref(tensor))
        tensor._value = value

    def values(self, of: Any) -> tuple[Value, ...]:
        """The values of the tensors in `of`; weights and constants have one that nothing made."""
        return tuple(getattr(x, "_value", None) or Value(tuple(x.shape)) for x in _tensors(of))

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        for value in dict.fromkeys(node.reads):
            value.readers.append(node)

    @contextmanager
    def hooks(self) -> Iterator[None]:
        with ExitStack() as handles:
            for module in self.names.keys() - {self.model}:
                handles.callback(module.register_forward_pre_hook(self.enter, with_kwargs=True).remove)
                handles.callback(module.register_forward_hook(self.leave, with_kwargs=True).remove)
            yield

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.running.append(self.names[module])
        self.entered.append(self.values((args, kwargs)))

    def leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name = self.names[module]
        made = [y for y in _tensors(output) if not hasattr(y, "_value")]
        if made:  # where no function is seen, the module is one
            self.record(module.forward, args, kwargs, self.entered[-1], made)
        if isinstance(module, StochasticLWTA):
            output._value.axis = module.groups.channel_dim % output.ndim
        self.running.pop()
        self.calls.setdefault(name, []).append(Node(name, "", self.entered.pop(), self.values(output)))

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = list(_tensors((args, kwargs)))
        reads = self.values(read)  # before: a function in place may change their shapes
        versions = {id(x): _version(x) for x in read}
        output = func(*args, **kwargs)
        # also what is written into and not given back: x[0] = y
        made = [y for y in (*_tensors(output), *read) if id(y) not in versions or versions[id(y)] != _version(y)]
        if read and (made or not (isinstance(output, Tensor) or name_of(func) in _FORM)):
            self.record(func, args, kwargs, reads, made)
        return output

    def record(self, func: Any, args: Any, kwargs: Any, reads: tuple[Value, ...], made: list[Tensor]) -> None:
        shapes = [tuple(y.shape) for y in made]
        carries = carried(func, reads, shapes[0]) if made else ()
        node = Node(self.running[-1], name_of(func), reads, carries=carries)
        for y, shape in zip(made, shapes, strict=True):
            axis = axis_after(func, args, kwargs, carries[0] if carries else None, shape)
            self.mark(y, Value(shape, axis, any(value.of_input for value in reads), node))
        node.gives = self.values(made)
        self.add(node)


def _version(x: Tensor) -> int | None:
    """A number that changes when a tensor is written into."""
    return None if x.is_inference() else x._version


def _tensors(of: Any) -> Iterator[Tensor]:
    if isinstance(of, Tensor):
        yield of
    elif isinstance(of, list | tuple):
        for part in of:
            yield from _tensors(part)
    elif isinstance(of, Mapping):
        yield from _tensors(list(of.values()))
    elif is_dataclass(of) and not isinstance(of, type):
        yield from _tensors([getattr(of, field.name) for field in fields(of)])
