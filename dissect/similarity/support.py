"""What every similarity needs: which images count for a unit, its top ones, and the concepts in chunks."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def active_images(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None
) -> Bool[Tensor, "images units"]:
    """On which images a unit says something: those it won, or (no competition) those above its smallest value.

    So the zeros of a rectified unit never fill up its top images, in whatever order they happen to stand.
    """
    return activations > activations.amin(0) if won is None else won


def has_support(
    activations: Float[Tensor, "images units"], won: Bool[Tensor, "images units"] | None
) -> Bool[Tensor, "units"]:
    """Units that say something at least once."""
    return active_images(activations, won).any(0)


def zero_losers(
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
    values = torch.where(active_images(activations, won), activations.float(), -torch.inf)
    best = values.topk(min(k, len(values)), dim=0)
    return best.indices, (best.values > -torch.inf).sum(0)


def chunks(
    concepts: Float[Tensor, "concepts dim"], *, rows: int, budget: int = 2**22
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the concepts, such that `rows` numbers a concept stay within `budget` numbers.

    In multiples of 64, where there is room for so many: other widths cost a product up to a fifth of its time.
    """
    size = max(1, budget // max(1, rows))
    size -= size % 64 if size > 64 else 0
    for start in range(0, len(concepts), size):
        yield slice(start, start + size), concepts[start : start + size].float()
