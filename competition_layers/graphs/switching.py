"""What really happens when a node is switched off: the network runs again and nothing is held."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..inference import logits_of
from ..observing import observe
from .nodes import Chosen, Scheme

BATCH = 8  # units of a layer switched off in one pass
TARGET = "target"


@torch.no_grad()
def unheld_effects(
    model: nn.Module,
    image: Tensor,
    chosen: Sequence[Chosen],
    patches: Sequence[int],
    scheme: Scheme,
    ends_in: Callable[[Tensor], Tensor],
) -> dict[tuple[str, str], float]:
    """By (source, target): what the target's value, at the places of its node, loses without the source.

    All that lies before the layer of the units that are off is computed once for all of them. A patch that is off has
    the mean colour.

    Args:
        ends_in: the target's value in each row of logits.
    """

    def values(x: Tensor) -> dict[str, Tensor]:
        def sums(layer: str, before: Tensor) -> dict[str, Tensor]:
            flat = scheme.flat(layer, before)
            return {c.node.id: c.sum_of(flat) for c in chosen if c.node.layer == layer}

        with observe(model, list(scheme.axes), what="input", read=sums) as seen:
            logits = logits_of(model, x)
        return {TARGET: ends_in(logits)} | {id: value for found in seen.values() for id, value in found.items()}

    whole, lost = values(image), dict[tuple[str, str], float]()
    for batch in _batches(chosen):
        with _switched_off(model, batch, scheme):
            try:
                without = values(image)
            except RuntimeError:
                if len(batch) == 1:
                    raise
                # something after the layer writes into a tensor from before it, which has a single row
                without = values(image.expand(len(batch), *image.shape[1:]))
        for id, each in without.items():
            if len(each) == len(batch):  # else it comes before the layer, and loses nothing
                lost |= {(off.node.id, id): float(whole[id][0] - each[row]) for row, off in enumerate(batch)}
    cells = scheme.cells(image)
    for start in range(0, len(patches), BATCH):
        some = patches[start : start + BATCH]
        for id, each in values(torch.cat([image * (cells != patch) for patch in some])).items():
            lost |= {(scheme.patch(patch), id): float(whole[id][0] - each[row]) for row, patch in enumerate(some)}
    return lost


def _batches(chosen: Sequence[Chosen]) -> Iterator[list[Chosen]]:
    """Units of one layer, so many at once."""
    for layer in dict.fromkeys(each.node.layer for each in chosen):
        units = [each for each in chosen if each.node.layer == layer]
        yield from (units[start : start + BATCH] for start in range(0, len(units), BATCH))


@contextmanager
def _switched_off(model: nn.Module, batch: Sequence[Chosen], scheme: Scheme) -> Iterator[None]:
    """Inside the block row i of their layer's output lacks `batch[i]`: at its position, or everywhere. The output of a
    single image is repeated for each row."""
    layer = batch[0].node.layer

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.expand(len(batch), *output.shape[1:]).clone()
        flat = output.movedim(scheme.axes[layer], -1)
        for row, off in enumerate(batch):
            if off.node.position is None:
                flat[row, ..., off.node.unit] = 0
            else:
                place = torch.unravel_index(torch.tensor(off.node.position), flat.shape[1:-1])
                flat[(row, *place, off.node.unit)] = 0
        return output

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
