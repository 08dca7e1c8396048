"""See what passes through named modules, and be told when something was missed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor, nn

from .names import match_names


@contextmanager
def observe(
    model: nn.Module,
    names: str | Sequence[str],
    *,
    what: Literal["input", "output"] = "output",
    read: Callable[[str, Tensor], Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Collect one pass: inside the block, run `model` once; afterwards the yielded dict holds each module's tensor.

    Tensors keep their graph. Read inputs only of modules that do not work in place (a `StochasticLWTA` never does).

    Args:
        names: dotted names or globs.
        read: what to keep, called with a module's name and tensor at once; by default the tensor itself, which a later
            module that works in place (`relu(inplace=True)`, `x += shortcut`) still changes.

    Raises:
        ValueError: a name is unknown (the nearest is offered).
        RuntimeError: a module was silent, or fired more than once. Hooks added after a compiled model's first call are
            skipped silently by torch, and fire twice under activation checkpointing: this is where that is noticed.
    """
    known = [name for name, _ in model.named_modules() if name]
    wanted = match_names(names, known, what="layer")
    seen: dict[str, Any] = {}
    calls = dict.fromkeys(wanted, 0)

    def hook_for(name):
        def hook(module, inputs, output):
            calls[name] += 1
            tensor = inputs[0] if what == "input" else output
            seen[name] = tensor if read is None else read(name, tensor)

        return hook

    handles = [model.get_submodule(name).register_forward_hook(hook_for(name)) for name in wanted]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    for name, count in calls.items():
        if count != 1:
            raise RuntimeError(
                f"Expected layer {name!r} to run once in a pass but got {count} calls"
                + ("; was the model compiled before it was observed?" if count == 0 else "; leave it out by name")
            )
