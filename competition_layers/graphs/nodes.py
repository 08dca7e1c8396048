"""What a node stands for: entries of a layer's tensor, patches of a picture; and which of them are the strongest."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ..attribution import flat_positions
from .graph import GraphNode
from .held_pass import PICTURE, HeldPass


@dataclass(frozen=True)
class Chosen:
    """A shown unit: its node, the places that it is summed over, and its place in what `Scheme.pooled` gives."""

    node: GraphNode
    places: Bool[Tensor, "positions"]
    index: int

    def sum_of(self, before: Float[Tensor, "images positions units"]) -> Float[Tensor, "images"]:
        """The node's value in each image, in double precision: sums of many terms cancel."""
        return (before[..., self.node.unit].double() * self.places).sum(1)


@dataclass(frozen=True)
class Scheme:
    """How tensors become nodes."""

    axes: Mapping[str, int]  # of the units, of each layer
    positions: bool  # nodes at positions, or summed over them
    grid: tuple[int, int]  # of patches

    def flat(self, layer: str, t: Tensor) -> Shaped[Tensor, "images positions units"]:
        return flat_positions(t, self.axes[layer])

    def pooled(self, source: str, effect: Tensor) -> Float[Tensor, "nodes"]:
        """One number for each node that could be shown: a unit, a unit at a position, or a patch."""
        if source == PICTURE:
            by_pixel = effect[0].double().sum(0).flatten()
            return by_pixel.new_zeros(self.grid[0] * self.grid[1]).index_add(0, self.cells(effect).flatten(), by_pixel)
        each = self.flat(source, effect)[0].double()
        return each.flatten() if self.positions else each.sum(0)

    def strongest(self, found: HeldPass, layer: str, by_all_paths: Tensor, count: int) -> list[Chosen]:
        """The `count` units of `layer` that add most to the target, at the places from which it can be reached."""
        influence, won = self.pooled(layer, by_all_paths), self.flat(layer, found.won[layer])[0]
        reaches = (self.flat(layer, by_all_paths)[0] != 0).any(1)
        chosen = []
        for entry in influence.abs().topk(min(count, int((influence != 0).sum()))).indices.tolist():
            position, unit = divmod(entry, won.shape[1]) if self.positions else (None, entry)
            places = won[:, unit] & reaches
            if position is not None:
                places &= torch.arange(len(places), device=places.device) == position
            id = f"{layer}/{unit}" if position is None else f"{layer}/{unit}@{position}"
            added = float(influence[entry])
            node = GraphNode(id, "unit", layer, unit, position, int(places.sum()), influence=added)
            chosen.append(Chosen(node, places, entry))
        return chosen

    def patch(self, index: int) -> str:
        """The name of a patch: its row and column."""
        return "patch/{},{}".format(*divmod(index, self.grid[1]))

    def cells(self, image: Float[Tensor, "*images height width"]) -> Int[Tensor, "height width"]:
        """The patch of each pixel, also where the grid does not divide the picture."""
        row, column = (
            torch.arange(size, device=image.device) * cells // size
            for size, cells in zip(image.shape[-2:], self.grid, strict=True)
        )
        return row[:, None] * self.grid[1] + column
