"""Who reads an activation: a Linear that alone reads a competition can read the winners alone (`winner_projection`)."""

from dataclasses import dataclass

from torch import Tensor, nn

from ..layers import StochasticLWTA, competitions
from .graph import OUTPUT, Node, Value
from .trace import trace

# Above so many weights (2 MB: no longer in a core's cache) half of the columns cost more than the dense product
# (benchmarks/inference.py --crossover); a quarter never did.
_MOST_WEIGHTS_OF_PAIRS = 2**19


@dataclass(frozen=True)
class WinnerPairs:
    """Which Linear reads which competition, by name; and the competitions that are left alone, with the reason."""

    linear: dict[str, str]
    left_alone: dict[str, str]


def winner_pairs(model: nn.Module, example: Tensor | None = None) -> WinnerPairs:
    """Find the Linear that reads a competition with nothing between, in the graph of a pass, see `trace`."""
    graph = trace(model, example)
    linear, left_alone = {}, {}
    for name, layer in competitions(model).items():
        calls = graph.calls.get(name, [])
        readers = [node for call in calls for value in call.gives for node in value.readers]
        reader = model.get_submodule(readers[0].module) if readers else layer
        functions = ["the caller" if node.function == OUTPUT else node.function for node in readers]
        if len(calls) != 1:
            left_alone[name] = f"it ran {len(calls)} times"
        elif functions != ["linear"] or type(reader) is not nn.Linear:
            left_alone[name] = f"read by {', '.join(functions) or 'nobody'}"
        elif reason := _why_not(layer, calls[0].gives[0], reader, len(graph.calls[readers[0].module])):
            left_alone[name] = reason
        else:
            linear[name] = readers[0].module
    return WinnerPairs(linear, left_alone)


def linear_readers(model: nn.Module, layer: str, example: Tensor | None = None) -> list[str]:
    """The Linear and Conv2d maps that read `layer` with nothing between; none where anything else reads it as well."""
    graph = trace(model, example)
    calls = graph.calls.get(layer, [])
    values = [value for call in calls for value in call.gives]
    readers = [node for value in values for node in value.readers]
    if len(calls) != 1 or not readers:
        return []
    names = [node.module for node in readers]
    fitting = (_reads_channels(node, model.get_submodule(node.module), values[0]) for node in readers)
    once = len(set(names)) == len(names) and all(len(graph.calls.get(name, ())) == 1 for name in names)
    return names if once and all(fitting) else []


def _reads_channels(node: Node, module: nn.Module, value: Value) -> bool:
    """Whether the call is that of a map whose weight has a column for each unit of `value`."""
    if node.function == "linear" and type(module) is nn.Linear:
        return value.axis == len(value.shape) - 1
    if node.function == "conv2d" and type(module) is nn.Conv2d:
        return value.axis == 1 and module.groups == 1
    return False


def _why_not(layer: StochasticLWTA, value: Value, linear: nn.Linear, runs: int) -> str:
    """Why a Linear that reads what a competition gives should go on as it does, or nothing."""
    if layer.groups.channel_dim % len(value.shape) != len(value.shape) - 1:
        return f"its units are on axis {layer.groups.channel_dim}, not on the last"
    if runs != 1:
        return f"its Linear ran {runs} times"
    if layer.groups.competitors == 2 and linear.weight.numel() > _MOST_WEIGHTS_OF_PAIRS:
        return f"half of {linear.in_features} x {linear.out_features} weights are not read faster than all of them"
    return ""
