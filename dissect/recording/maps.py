"""What the units of a layer said at each place of some images."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class LayerMaps:
    """Values on the layer's grid, a loser's 0, and where units won (None: they do not compete). 1 x 1 without a grid:
    vectors as they are, tokens that fill no square by their mean."""

    values: Float[Tensor, "images units height width"]
    won: Bool[Tensor, "images units height width"] | None = None


def layer_maps(
    y: Float[Tensor, "images units positions"],
    won: Bool[Tensor, "images units positions"] | None,
    grid: tuple[int, int] | None,
) -> LayerMaps:
    """The maps of positions that end with the `grid`, row by row: what stands before are class tokens."""
    y = y if won is None else y * won
    if grid is None:
        mean = y.mean(2).float().cpu()[:, :, None, None]
        return LayerMaps(mean, None if won is None else won.any(2).cpu()[:, :, None, None])
    last = grid[0] * grid[1]
    maps = y[:, :, -last:].unflatten(2, grid).float().cpu()
    return LayerMaps(maps, None if won is None else won[:, :, -last:].unflatten(2, grid).bool().cpu())
