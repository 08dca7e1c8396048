"""See what passes through named modules, and be told when something was missed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn

from .names import match_names


@contextmanager
def observe(
    model: nn.Module, names: str | Sequence[str], *, what: Literal["input", "output"] = "output"
) -> Iterator[dict[str, Tensor]]:
    """Collect one pass: inside the block, run `model` once; afterwards the yielded dict holds each module's tensor.

    Tensors keep their graph. Read inputs only of modules that do not work in place (a `StochasticLWTA` never does).

    Args:
        names: dotted names or globs.

    Raises:
        ValueError: a name is unknown (the nearest is offered).
        RuntimeError: a module was silent, or fired more than once. Hooks added after a compiled model's first call are
            skipped silently by torch, and fire twice under activation checkpointing: this is where that is noticed.
    """
    known = [name for name, _ in model.named_modules() if name]
    wanted = match_names(names, known, what="layer")
    seen: dict[str, Tensor] = {}
    calls = dict.fromkeys(wanted, 0)

    def hook_for(name):
        def hook(module, inputs, output):
            calls[name] += 1
            seen[name] = inputs[0] if what == "input" else output

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
