"""Which channels form a group: the two layouts, and what an index of winners means in them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from .checks import check_choice
from .competition import LAYOUTS, Layout


@dataclass(frozen=True)
class Groups:
    """Which of K channels compete with one another: B = K / U groups of U.

    Args:
        competitors: U, the units in a group; from 2 to 255 (winners are stored as uint8), and a divisor of K.
        channel_dim: the axis of the units: -1 for vectors, tokens and channels-last maps, 1 for channels-first maps.
            Never guessed from the number of dimensions.
        layout: `strided`: group b holds channels b, b+B, b+2B, ...; `adjacent`: channels bU .. bU+U-1 (the papers').

    Raises:
        ValueError: a number of competitors out of its bounds, an unknown layout.
    """

    competitors: int
    channel_dim: int
    layout: Layout = "strided"

    def __post_init__(self):
        if not 2 <= self.competitors <= 255:
            raise ValueError(
                f"Expected competitors between 2 and 255 but got {self.competitors}; 1 means no competition"
            )
        check_choice("layout", self.layout, LAYOUTS)


def grouped(x: Tensor, groups: Groups) -> tuple[Tensor, int]:
    """View `x` with its channel axis split in two, groups and competitors; also return the competitors' axis.

    Raises:
        ValueError: K is not a multiple of U.
    """
    dim = groups.channel_dim % x.ndim
    width, competitors = x.shape[dim], groups.competitors
    if width % competitors:
        raise ValueError(
            f"Expected a width that {competitors} competitors divide but got {width}; "
            f"numbers that would do: {', '.join(map(str, divisors(width)))}"
        )
    if groups.layout == "strided":
        return x.unflatten(dim, (competitors, width // competitors)), dim
    return x.unflatten(dim, (width // competitors, competitors)), dim + 1


def winner_mask(index: UInt8[Tensor, "*groups"], groups: Groups) -> Bool[Tensor, "*shape"]:
    """The units that won, as a mask over the K channels, from the winners' indices (the inverse of `winners`).

    >>> winner_mask(torch.tensor([1, 0], dtype=torch.uint8), Groups(2, channel_dim=0))
    tensor([False,  True,  True, False])
    """
    dim = groups.channel_dim % index.ndim
    axis = dim if groups.layout == "strided" else dim + 1
    return one_hot(index, groups.competitors, axis).flatten(dim, dim + 1)


def winner_units(index: UInt8[Tensor, "*groups"], groups: Groups) -> Tensor:
    """The 0-based channel of each group's winner, int64, in the shape of `index`."""
    dim = groups.channel_dim % index.ndim
    count = index.shape[dim]
    group = along(torch.arange(count, device=index.device), dim, index.ndim)
    return index.long() * count + group if groups.layout == "strided" else group * groups.competitors + index.long()


def group_numbers(width: int, competitors: int, layout: Layout) -> Int[Tensor, "units"]:
    """The number of each unit's group.

    >>> group_numbers(6, 3, "strided").tolist(), group_numbers(6, 3, "adjacent").tolist()
    ([0, 1, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1])
    """
    units = torch.arange(width)
    return units % (width // competitors) if layout == "strided" else units // competitors


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
