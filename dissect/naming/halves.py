"""Two halves of the probe: on one the names are chosen, on the other they are judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..similarity.support import content_order
from .near_duplicates import block_means, joined, near_duplicates
from .permutation_test import alike_in_size


@dataclass(frozen=True)
class Halves:
    """Which images choose, which judge, and the block that each of all images belongs to.

    Both halves list images in `content_order`: nothing that is found with them depends on how the probe is sorted.
    """

    choosing: Int[Tensor, "chosen"]
    judging: Int[Tensor, "judged"]
    blocks: Int[Tensor, "images"]

    @property
    def observations(self) -> dict[str, int]:
        """How many images choose, how many judge, and how many different ones those are."""
        distinct = len(self.blocks[self.judging].unique())
        return {"choosing": len(self.choosing), "judging": len(self.judging), "distinct": distinct}

    def judged(self, values: Float[Tensor, "images columns"]) -> Float[Tensor, "observations columns"]:
        """The judging half: one row a block, the mean over its images, since they are one observation."""
        return block_means(values[self.judging], self.blocks[self.judging])

    @property
    def strata(self) -> Int[Tensor, "observations"]:
        """Which of the judging half's blocks may be exchanged: those of about as many images."""
        return alike_in_size(self.blocks[self.judging].unique(return_counts=True)[1])

    def support(self, active: Bool[Tensor, "images units"]) -> tuple[Int[Tensor, "units"], Int[Tensor, "units"]]:
        """On how many blocks of the choosing half each unit says something, and of the judging half."""
        choosing, judging = (
            (block_means(active[half].float(), self.blocks[half]) > 0).sum(0) for half in (self.choosing, self.judging)
        )
        return choosing, judging


def halve(
    image_embeddings: Float[Tensor, "images dim"], *, blocks: Sequence[str] | None = None, seed: int = 0
) -> Halves:
    """The halves of a probe with these embeddings: the same for every network and layer that looks at it.

    Args:
        blocks: what each image belongs to (a clip, a folder), beside its near-duplicates: such images are one
            observation, and stand on one side.
    """
    order = content_order(image_embeddings)
    found = near_duplicates(image_embeddings, seed=seed)
    if blocks is not None:
        found = _with_blocks(found, blocks, order)
    chooses = choosing_half(found, seed=seed)[order]
    return Halves(order[chooses], order[~chooses], found)


def choosing_half(blocks: Int[Tensor, "images"], *, seed: int = 0) -> Bool[Tensor, "images"]:
    """The images on which names are chosen: whole blocks, in an order drawn by `seed`, up to half of the images.

    A block never stands on both sides: the name of a unit would be judged on pictures that it was chosen by.
    """
    sizes = blocks.bincount()
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).to(blocks.device)
    middle = sizes[order].cumsum(0) - sizes[order] / 2
    return torch.zeros_like(sizes, dtype=torch.bool).index_fill_(0, order[middle <= len(blocks) / 2], True)[blocks]


def _with_blocks(
    near: Int[Tensor, "images"], blocks: Sequence[str], order: Int[Tensor, "images"]
) -> Int[Tensor, "images"]:
    """Blocks and near-duplicates joined, numbered in `order`: a picture is tied to the first one of either."""
    if len(blocks) != len(near):
        raise ValueError(f"Expected the block of each of the {len(near)} images but got {len(blocks)}")
    places: dict[str, int] = {}
    firsts: dict[int, int] = {}
    pairs = []
    for place, image in enumerate(order.tolist()):
        pairs += [(places.setdefault(blocks[image], place), place), (firsts.setdefault(int(near[image]), place), place)]
    first, second = torch.tensor(pairs, device=near.device).T
    return torch.empty_like(near).index_copy_(0, order, joined(len(near), first, second))
