"""Two halves of the probe: on one the names are chosen, on the other they are judged."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .near_duplicates import block_means, near_duplicates


@dataclass(frozen=True)
class Halves:
    """Which images choose, and the block of near-duplicates that each of all images belongs to."""

    choosing: Bool[Tensor, "images"]
    blocks: Int[Tensor, "images"]

    @property
    def observations(self) -> dict[str, int]:
        """How many images choose, how many judge, and how many different ones those are."""
        judging = self.blocks[~self.choosing]
        return {"choosing": int(self.choosing.sum()), "judging": len(judging), "distinct": len(judging.unique())}

    def judged(self, values: Float[Tensor, "images columns"]) -> Float[Tensor, "observations columns"]:
        """The other half: one row a block, the mean over its images, since near-duplicates are one observation."""
        return block_means(values[~self.choosing], self.blocks[~self.choosing])


def halve(images: Float[Tensor, "images dim"], *, seed: int = 0) -> Halves:
    """The halves of a probe with these embeddings: the same for every network and layer that looks at it."""
    blocks = near_duplicates(images, seed=seed)
    return Halves(choosing_half(blocks, seed=seed), blocks)


def choosing_half(blocks: Int[Tensor, "images"], *, seed: int = 0) -> Bool[Tensor, "images"]:
    """The images on which names are chosen: whole blocks, in an order drawn by `seed`, up to half of the images.

    A block never stands on both sides: the name of a unit would be judged on pictures that it was chosen by.
    """
    sizes = blocks.bincount()
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).to(blocks.device)
    middle = sizes[order].cumsum(0) - sizes[order] / 2
    return torch.zeros_like(sizes, dtype=torch.bool).index_fill_(0, order[middle <= len(blocks) / 2], True)[blocks]
