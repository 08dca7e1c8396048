"""What really happens when a node is switched off: the network runs again and nothing is held."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from ..inference import logits_of
from ..observing import observe
from .nodes import Chosen, Scheme

BATCH = 8  # units switched off in one pass
TARGET = "target"


@torch.no_grad()
def unheld_effects(
    model: nn.Module, image: Tensor, chosen: Sequence[Chosen], scheme: Scheme, ends_in: Callable[[Tensor], Tensor]
) -> dict[tuple[str, str], float]:
    """By (source, target): what the target's value, at the places of its node, loses without the source.

    Args:
        ends_in: the target's value in each row of logits.
    """
    values = _values(model, image, chosen, scheme, ends_in)
    lost: dict[tuple[str, str], float] = {}
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        with _switched_off(model, batch, scheme):
            without = _values(model, image.expand(len(batch), *image.shape[1:]), chosen, scheme, ends_in)
        for row, off in enumerate(batch):
            lost |= {(off.node.id, id): float(values[id][0] - each[row]) for id, each in without.items()}
    return lost


def _values(
    model: nn.Module, x: Tensor, chosen: Sequence[Chosen], scheme: Scheme, ends_in: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    def sums(layer: str, before: Tensor) -> dict[str, Tensor]:
        flat = scheme.flat(layer, before)
        return {c.node.id: c.sum_of(flat) for c in chosen if c.node.layer == layer}

    with observe(model, list(scheme.axes), what="input", read=sums) as seen:
        logits = logits_of(model, x)
    return {TARGET: ends_in(logits)} | {id: value for found in seen.values() for id, value in found.items()}


@contextmanager
def _switched_off(model: nn.Module, batch: Sequence[Chosen], scheme: Scheme) -> Iterator[None]:
    """Inside the block row i of a batch lacks the unit of `batch[i]`: at its position, or everywhere."""

    def hook_for(layer: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            output = output.clone()
            flat = output.movedim(scheme.axes[layer], -1)
            for row, off in enumerate(batch):
                if off.node.layer == layer and off.node.position is None:
                    flat[row, ..., off.node.unit] = 0
                elif off.node.layer == layer:
                    place = torch.unravel_index(torch.tensor(off.node.position), flat.shape[1:-1])
                    flat[(row, *place, off.node.unit)] = 0
            return output

        return hook

    with ExitStack() as stack:
        for layer in {c.node.layer for c in batch}:
            stack.callback(model.get_submodule(layer).register_forward_hook(hook_for(layer)).remove)
        yield
