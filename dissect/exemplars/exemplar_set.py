"""The exemplars of a layer: of each unit the top images, its map on each, and what counts as strong."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

EXEMPLARS = 15  # images a unit: MILAN's k (Hernandez et al. 2022, sec. 3)
QUANTILE = 0.99  # of all positions of all images: what a unit must exceed in a mask (the same section)


@dataclass(frozen=True)
class ExemplarSet:
    """Of each unit of a layer up to k images, best first, no two of them near-duplicates.

    `images` are places in the probe, -1 where there are fewer; `values` the unit's there. `maps` are its values at the
    layer's own positions, a loser's 0 (1 x 1 where there is no map), `won` where it won them (None: no competition),
    `thresholds` the quantile of its values over all positions of all images that were looked at.
    """

    images: Int[Tensor, "units kept"]
    values: Float[Tensor, "units kept"]
    maps: Float[Tensor, "units kept height width"]
    thresholds: Float[Tensor, "units"]
    won: Bool[Tensor, "units kept height width"] | None = None

    def places(self, unit: int) -> list[int]:
        """The places of a unit's images in the probe, best first."""
        return [place for place in self.images[unit].tolist() if place >= 0]

    def masks(self, unit: int, size: tuple[int, int], *, by: str = "auto") -> Bool[Tensor, "kept height width"]:
        """Where in its images, stretched to `size` (height, width), a unit answers.

        Args:
            by: `quantile`, where its map exceeds the threshold; `won`, where it won; `auto`, where it won in a
                competition, else the quantile.

        Raises:
            ValueError: `won` of a layer that does not compete, or another word.
        """
        if by not in ("auto", "quantile", "won") or (by == "won" and self.won is None):
            raise ValueError(f"Expected masks by auto, quantile or (of a competition) won but got {by!r}")
        count = len(self.places(unit))
        if self.won is not None and by != "quantile":
            return interpolate(self.won[unit, :count, None].float(), size=size, mode="nearest")[:, 0] > 0
        return self.stretched(unit, size) > self.thresholds[unit]

    def stretched(self, unit: int, size: tuple[int, int]) -> Float[Tensor, "kept height width"]:
        """A unit's maps at the `size` of a picture: bilinear, corners on corners."""
        maps = self.maps[unit, : len(self.places(unit)), None].float()
        return interpolate(maps, size=size, mode="bilinear", align_corners=True)[:, 0]

    def tensors(self) -> dict[str, Tensor]:
        """As a file holds them; `from_tensors` reads them back."""
        flat = {name: getattr(self, name) for name in ("images", "values", "maps", "thresholds")}
        return flat if self.won is None else {**flat, "won": self.won}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> "ExemplarSet":
        return cls(flat["images"], flat["values"], flat["maps"], flat["thresholds"], flat.get("won"))


def top_distinct(
    values: Float[Tensor, "images units"],
    counted: Bool[Tensor, "images units"],
    blocks: Int[Tensor, "images"],
    *,
    keep: int = EXEMPLARS,
) -> Int[Tensor, "units kept"]:
    """Of each unit the `keep` images with the highest values, one a block of near-duplicates, -1 where there are fewer.

    Among equals the earlier image comes first; only images that are `counted`.
    """
    found = torch.full((values.shape[1], keep), -1, dtype=torch.int64)
    _, numbered = blocks.unique(return_inverse=True)
    for unit, (row, counts) in enumerate(zip(values.T, counted.T, strict=True)):
        order = row.masked_fill(~counts, -torch.inf).sort(descending=True, stable=True).indices[: int(counts.sum())]
        first = torch.full((int(numbered.max()) + 1,), len(order))
        ranks = torch.arange(len(order))
        first = first.scatter_reduce(0, numbered[order], ranks, "amin")  # the best rank of each block
        best = order[first[first < len(order)].sort().values[:keep]]
        found[unit, : len(best)] = best
    return found
