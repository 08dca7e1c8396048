"""Each unit's top images, kept while they pass: their values, and the unit's map on each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import isqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .unit_values import UnitValues

KEPT = 8  # images a unit
SIDE = 14  # of a map, at most


@dataclass(frozen=True)
class TopImages:
    """The `KEPT` best images of each unit, best first; which of equals comes first follows from their contents.

    `indices` are places in the probe, -1 where there are fewer; `maps` are the unit's values over positions, averaged
    down to at most SIDE x SIDE, in fp16 (1 x 1 where the layer has no map).
    """

    indices: Int[Tensor, "units kept"]
    values: Float[Tensor, "units kept"]
    maps: Float[Tensor, "units kept height width"]

    def tensors(self) -> dict[str, Tensor]:
        """As a file holds them; `from_tensors` reads them back."""
        return {"images": self.indices.cpu(), "values": self.values.cpu(), "maps": self.maps.cpu()}

    def moved(self, start: int) -> "TopImages":
        """The same, of images that begin at `start`."""
        return replace(self, indices=torch.where(self.indices < 0, self.indices, self.indices + start))

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> "TopImages":
        return cls(flat["images"], flat["values"], flat["maps"])


def no_top_images(units: int, grid: tuple[int, int] | None, device: torch.device | str = "cpu") -> TopImages:
    """Nothing kept yet, for a layer whose positions form a `grid`."""
    height, width = (min(side, SIDE) for side in grid or (1, 1))
    return TopImages(
        indices=torch.full((units, KEPT), -1, dtype=torch.int32, device=device),
        values=torch.full((units, KEPT), -torch.inf, device=device),
        maps=torch.zeros(units, KEPT, height, width, dtype=torch.float16, device=device),
    )


def with_batch(
    kept: TopImages,
    image_range: range,
    said: UnitValues,
    positions: Float[Tensor, "images units positions"],
    grid: tuple[int, int] | None,
    order: Int[Tensor, "all"],
) -> TopImages:
    """`kept` and those of a later batch that outrank them; a unit's images are among those it won.

    `positions` end with the `grid`, row by row: what stands before are class tokens. Among equals the lower number in
    `order` comes first (`content_ranks`).
    """
    values = said.values if said.won is None else said.values.masked_fill(~said.won, -torch.inf)
    entering = torch.arange(image_range.start, image_range.stop, dtype=torch.int32, device=values.device)
    candidates = torch.cat([kept.indices, entering.expand(values.shape[1], -1)], 1)
    best, where = _best(torch.cat([kept.values, values.T], 1), candidates, order)
    old = where.clamp(max=KEPT - 1)
    maps = kept.maps.gather(1, old[:, :, None, None].expand_as(kept.maps))
    unit, place = (where >= KEPT).nonzero(as_tuple=True)
    maps[unit, place] = _shrunk(positions[where[unit, place] - KEPT, unit], grid, maps.shape[2:])
    return TopImages(candidates.gather(1, where).masked_fill(best == -torch.inf, -1), best, maps)


def merged(parts: Sequence[TopImages], order: Int[Tensor, "all"]) -> TopImages:
    """The top images of all parts, in whatever order they come."""
    indices, values, maps = (torch.cat([getattr(part, f.name) for part in parts], 1) for f in fields(TopImages))
    best, where = _best(values, indices, order)
    return TopImages(
        indices.gather(1, where), best, maps.gather(1, where[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
    )


def content_ranks(hashes: Sequence[str]) -> Int[Tensor, "images"]:
    """Of each image its rank by the hash of its content: an order that no name and no place in a folder decides.

    >>> content_ranks(["c", "a", "b", "a"]).tolist()
    [2, 0, 1, 0]
    """
    rank = {content: at for at, content in enumerate(sorted(set(hashes)))}
    return torch.tensor([rank[content] for content in hashes], dtype=torch.int64)


def grid_of(shape: Sequence[int], axis: int, prefix: int) -> tuple[int, int] | None:
    """Height and width of a layer's positions, from the shape of its output: maps, or tokens that fill a square."""
    if len(shape) == 4:
        height, width = (side for at, side in enumerate(shape) if at not in (0, axis))
        return height, width
    if len(shape) == 3 and axis == 2:
        side = isqrt(shape[1] - prefix)
        if side > 1 and side * side == shape[1] - prefix:
            return side, side
    return None


def _best(values: Tensor, indices: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """The `KEPT` largest of each row and their places; of equals an empty place, then the lowest in `order`."""
    ranks = order.to(indices.device)[indices.clamp(min=0).long()].masked_fill(indices < 0, -1)
    first = ranks.sort(stable=True, dim=1).indices
    ordered, where = values.gather(1, first).sort(stable=True, dim=1, descending=True)
    return ordered[:, :KEPT], first.gather(1, where[:, :KEPT])


def _shrunk(positions: Tensor, grid: tuple[int, int] | None, size: Sequence[int]) -> Tensor:
    if grid is None:
        return positions.mean(1).half()[:, None, None]
    maps = positions[:, -grid[0] * grid[1] :].unflatten(1, grid).float()
    return adaptive_avg_pool2d(maps[:, None], tuple(size))[:, 0].half()
