"""Which channels form a group: the two layouts, and what an index of winners means in them."""

from typing import Literal

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

Layout = Literal["strided", "adjacent"]
LAYOUTS: tuple[Layout, ...] = ("strided", "adjacent")


def grouped(x: Tensor, competitors: int, *, channel_dim: int, layout: Layout = "strided") -> tuple[Tensor, int]:
    """View `x` with its channel axis split in two, groups and competitors; also return the competitors' axis.

    Raises:
        ValueError: K is not a multiple of U, or the layout is unknown.
    """
    dim = channel_dim % x.ndim
    width = x.shape[dim]
    if width % competitors:
        raise ValueError(
            f"Expected a width that {competitors} competitors divide but got {width}; "
            f"numbers that would do: {', '.join(map(str, divisors(width)))}"
        )
    if layout == "strided":
        return x.unflatten(dim, (competitors, width // competitors)), dim
    if layout == "adjacent":
        return x.unflatten(dim, (width // competitors, competitors)), dim + 1
    raise ValueError(f"Expected layout 'strided' or 'adjacent' but got {layout!r}")


def winner_mask(
    index: UInt8[Tensor, "*groups"], competitors: int, *, channel_dim: int, layout: Layout = "strided"
) -> Bool[Tensor, "*shape"]:
    """The units that won, as a mask over the K channels, from the winners' indices (the inverse of `winners`).

    >>> winner_mask(torch.tensor([1, 0], dtype=torch.uint8), 2, channel_dim=0)
    tensor([False,  True,  True, False])
    """
    dim = channel_dim % index.ndim
    axis = dim if layout == "strided" else dim + 1
    return one_hot(index, competitors, axis).flatten(dim, dim + 1)


def winner_units(
    index: UInt8[Tensor, "*groups"], competitors: int, *, channel_dim: int, layout: Layout = "strided"
) -> Tensor:
    """The 0-based channel of each group's winner, int64, in the shape of `index`."""
    dim = channel_dim % index.ndim
    groups = index.shape[dim]
    group = along(torch.arange(groups, device=index.device), dim, index.ndim)
    return index.long() * groups + group if layout == "strided" else group * competitors + index.long()


def divisors(width: int) -> list[int]:
    """The numbers of competitors that `width` units can be split into: every divisor from 2 up to the width."""
    return [u for u in range(2, width + 1) if width % u == 0]


def one_hot(index: Tensor, competitors: int, axis: int) -> Tensor:
    """True where the competitor along the new `axis` is the winner; nowhere in a group whose index is U (a NaN)."""
    rank = torch.arange(competitors, dtype=torch.uint8, device=index.device)
    return index.unsqueeze(axis) == along(rank, axis, index.ndim + 1)


def along(vector: Tensor, axis: int, ndim: int) -> Tensor:
    """`vector` as a tensor of `ndim` axes that lies along `axis`."""
    return vector.view([-1 if d == axis else 1 for d in range(ndim)])
