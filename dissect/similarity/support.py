"""What every similarity needs: which images count for a unit, its top ones, and the concepts in chunks."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def speaking(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None
) -> Bool[Tensor, "images units"]:
    """On which images a unit says something: those it won, or (no competition) those above its smallest value.

    So the zeros of a rectified unit never fill up its top images, in whatever order they happen to stand.
    """
    return activations > activations.amin(0) if won is None else won


def supported(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None
) -> Bool[Tensor, "units"]:
    """Units that say something at least once."""
    return speaking(activations, won).any(0)


def winning(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None
) -> Float[Tensor, "images units"]:
    """The activations in fp32, 0 where the unit lost."""
    return activations.float() if won is None else torch.where(won, activations.float(), 0.0)


def top_images(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None, k: int
) -> tuple[Int[Tensor, "k units"], Int[Tensor, "units"]]:
    """The k images (or as many as there are) with a unit's highest values, best first, and how many of them count.

    Only images on which the unit says something count: a loser's 0 never outranks a negative winner.
    """
    counted = speaking(activations, won)
    values = activations.float().masked_fill(~counted, -torch.inf)
    k = min(k, len(values))
    return values.topk(k, dim=0).indices, counted.sum(0).clamp(max=k)


def chunks(
    concepts: Float[Tensor, "concepts dim"], *, rows: int, budget: int = 2**22
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the concepts, such that `rows` numbers a concept stay within `budget` numbers."""
    size = max(1, budget // max(1, rows))
    for start in range(0, len(concepts), size):
        yield slice(start, start + size), concepts[start : start + size].float()
