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
    activations: Float[Tensor, "images units"],
    won: Bool[Tensor, "images units"] | None,
    k: int,
    image_embeddings: Float[Tensor, "images dim"],
) -> tuple[Int[Tensor, "k units"], Int[Tensor, "units"]]:
    """The k images (or as many as there are) with a unit's highest values, best first, and how many of them count.

    Only images on which the unit says something count: a loser's 0 never outranks a negative winner. Equal values stand
    in `content_order`.
    """
    n, units = activations.shape
    later = torch.empty(n, dtype=torch.int64, device=activations.device)
    later[content_order(image_embeddings)] = torch.arange(n - 1, -1, -1, device=later.device)
    order, counts = later.new_empty(min(k, n), units), later.new_empty(units)
    for some in torch.arange(units, device=later.device).split(max(1, 2**22 // max(1, n))):
        active = active_images(activations[:, some], None if won is None else won[:, some])
        bits = (activations[:, some].float() + 0.0).contiguous().view(torch.int32)  # + 0: -0.0 becomes 0.0
        ascending = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # integers in the order of the floats
        order[:, some] = ((ascending << 32) | later[:, None]).where(active, -(2**63)).topk(len(order), dim=0).indices
        counts[some] = active.sum(0).clamp(max=len(order))
    return order, counts


def content_order(image_embeddings: Float[Tensor, "images dim"]) -> Int[Tensor, "images"]:
    """The images in an order that follows from their embeddings alone, not from how they are stored, and that is
    random otherwise: by a multiplicative hash of each row's bits."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (image_embeddings.shape[1],), generator=generator) * 2 + 1
    factors = factors.to(image_embeddings.device)
    bits = (image_embeddings.float() + 0.0).contiguous().view(torch.int32)
    keys = [(rows.long() * factors).sum(1) for rows in bits.split(4096)]  # wraps around, as a hash may
    return torch.cat(keys).argsort(stable=True)


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
