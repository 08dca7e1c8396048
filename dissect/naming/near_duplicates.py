"""Which probe images show nearly the same: they are one observation, never two."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ..similarity.support import content_order

NEAR_DUPLICATE = 0.95  # cosine of two embeddings, the probe's mean taken off
_TABLES, _BITS, _NEIGHBOURS = 16, 48, 4
_LARGE = 0.1  # of the images: a larger block is one burst, or the chance links of a narrow domain
_COMPACT = 0.9  # mean cosine of the pairs of a block above which it is one burst


def near_duplicates(
    image_embeddings: Float[Tensor, "images dim"], *, threshold: float = NEAR_DUPLICATE, seed: int = 0
) -> Int[Tensor, "images"]:
    """The block of each image: images that a chain of near-duplicates joins are in one. Blocks are numbered from 0, in
    the `content_order` of their first images.

    Near are embeddings whose cosine exceeds `threshold` once the mean embedding is taken off (encoders put all
    photographs into a narrow cone; how narrow differs). In time linear in the images: each is compared only with its
    neighbours in 16 sorted lists of random-hyperplane bits (Charikar 2002), where near ones share long beginnings.

    In a narrow domain chains join pictures that have nothing in common (continuum percolation). A block of more than
    10 % of the images (and of 50) whose pairs are not alike (mean cosine below .9) is cut at half the distance, until
    none is left; pictures less than 1e-6 apart stay together.

    >>> blocks = near_duplicates(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [-1.0, -1.0]]))
    >>> (blocks == blocks[0]).tolist(), int(blocks.max())
    ([True, False, True, False], 2)
    """
    order = content_order(image_embeddings)
    images = image_embeddings[order].float()
    centred = normalize(images - images.mean(0), dim=1)
    first, second = _pairs(centred, threshold, seed)
    blocks = joined(len(images), first, second)
    while threshold < 1 - 1e-6 and (chained := _chained(centred, blocks)).any():
        threshold = (1 + threshold) / 2
        kept = ~chained[first] | ((centred[first] * centred[second]).sum(1) > threshold)
        first, second = first[kept], second[kept]
        blocks = joined(len(images), first, second)
    return torch.empty_like(blocks).index_copy_(0, order, blocks)


def joined(count: int, first: Int[Tensor, "pairs"], second: Int[Tensor, "pairs"]) -> Int[Tensor, "images"]:
    """The connected components of a graph of `count` nodes, numbered from 0 in the order of their first members."""
    lowest = torch.arange(count, device=first.device)
    while True:
        spread = lowest.scatter_reduce(0, second, lowest[first], "amin").scatter_reduce(
            0, first, lowest[second], "amin"
        )
        spread = spread[spread]  # jump ahead along the chain
        if torch.equal(spread, lowest):
            return lowest.unique(return_inverse=True)[1]
        lowest = spread


def block_means(
    values: Float[Tensor, "images columns"], blocks: Int[Tensor, "images"]
) -> Float[Tensor, "observations columns"]:
    """One row a block, in the order of their numbers: the mean over its images, in fp64."""
    _, row = blocks.unique(return_inverse=True)
    sizes = row.bincount()
    sums = values.new_zeros(len(sizes), values.shape[1], dtype=torch.float64).index_add_(0, row, values.double())
    return sums / sizes[:, None]


def _pairs(
    centred: Float[Tensor, "images dim"], threshold: float, seed: int
) -> tuple[Int[Tensor, "pairs"], Int[Tensor, "pairs"]]:
    generator = torch.Generator().manual_seed(seed)
    weights = (2 ** torch.arange(_BITS)).to(centred.device)
    first, second = [], []
    for _ in range(_TABLES):
        planes = torch.randn(_BITS, centred.shape[1], generator=generator).to(centred.device)
        order = ((centred @ planes.T > 0) * weights).sum(1).argsort(stable=True)
        for step in range(1, min(_NEIGHBOURS + 1, len(order))):
            one, other = order[:-step], order[step:]
            near = (centred[one] * centred[other]).sum(1) > threshold
            first.append(one[near])
            second.append(other[near])
    return torch.cat([*first, order[:0]]), torch.cat([*second, order[:0]])


def _chained(centred: Float[Tensor, "images dim"], blocks: Int[Tensor, "images"]) -> Tensor:
    """Which images stand in a large block whose pairs are not alike: |mean of unit vectors|^2 is their mean cosine."""
    alike = block_means(centred, blocks).square().sum(1) > _COMPACT
    return ((blocks.bincount() > max(50, _LARGE * len(blocks))) & ~alike)[blocks]
