"""What feeds a value, and whether it only opens a gate."""

from collections.abc import Collection, Iterable

from .activations import GATES
from .channels import LAYERS, MAPS, NORMS
from .graph import Value


def fed_by(value: Value, given: Collection[Value] = ()) -> tuple[str, ...]:
    """The layers that `value` is made by with nothing but sums, reshapes and gates between: several after a sum.

    Args:
        given: values behind which nothing is looked for, such as those of other activations.
    """
    layers: dict[str, None] = {}
    todo, seen = [value], set(given)
    while todo:
        value = todo.pop()
        if value in seen or value.maker is None:
            continue
        seen.add(value)
        if value.maker.function in LAYERS:
            layers[value.maker.module] = None
        else:
            todo += reversed(value.maker.carries)
    return tuple(layers)


def opens_gate(value: Value) -> bool:
    """Whether its one use is to be mapped by a layer, bounded and multiplied with, as in squeeze-and-excite."""
    if len(value.readers) != 1 or value.readers[0].function not in MAPS:
        return False
    mapped = _onward(value.readers[0].gives)
    bounds = (node for v in mapped for node in v.readers if node.function in GATES)
    gates = _onward(v for node in bounds for v in node.gives)
    return any("mul" in node.function for v in gates for node in v.readers)


def _onward(values: Iterable[Value]) -> set[Value]:
    """`values`, and all whose channels are theirs first of all, normalised or not."""
    reached, todo = set(), list(values)
    while todo:
        value = todo.pop()
        if value not in reached:
            reached.add(value)
            on = (n for n in value.readers if value in n.carries[:1] or (n.function in NORMS and value is n.reads[0]))
            todo += [given for node in on for given in node.gives]
    return reached
