"""Which probe images show nearly the same: they are one observation, never two."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

NEAR_DUPLICATE = 0.95  # cosine of two embeddings, the probe's mean taken off
_TABLES, _BITS, _NEIGHBOURS = 16, 48, 4


def near_duplicates(
    images: Float[Tensor, "images dim"], *, threshold: float = NEAR_DUPLICATE, seed: int = 0
) -> Int[Tensor, "images"]:
    """The block of each image, from 0: images that a chain of near-duplicates joins are in one.

    Near are embeddings whose cosine exceeds `threshold` once the mean embedding is taken off (encoders put all
    photographs into a narrow cone; how narrow differs). In time linear in the images: each is compared only with its
    neighbours in 16 sorted lists of random-hyperplane bits (Charikar 2002), where near ones share long beginnings.

    >>> near_duplicates(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [-1.0, -1.0]])).tolist()
    [0, 1, 0, 2]
    """
    centred = normalize(images.float() - images.float().mean(0), dim=1)
    generator = torch.Generator().manual_seed(seed)
    weights = (2 ** torch.arange(_BITS)).to(images.device)
    first, second = [], []
    for _ in range(_TABLES):
        planes = torch.randn(_BITS, images.shape[1], generator=generator).to(images.device)
        order = ((centred @ planes.T > 0) * weights).sum(1).argsort(stable=True)
        for step in range(1, min(_NEIGHBOURS + 1, len(order))):
            one, other = order[:-step], order[step:]
            near = (centred[one] * centred[other]).sum(1) > threshold
            first.append(one[near])
            second.append(other[near])
    return _components(len(images), torch.cat([*first, order[:0]]), torch.cat([*second, order[:0]]))


def block_means(
    values: Float[Tensor, "images columns"], blocks: Int[Tensor, "images"]
) -> Float[Tensor, "observations columns"]:
    """One row a block: the mean over its images, in fp64."""
    _, row = blocks.unique(return_inverse=True)
    sizes = row.bincount()
    sums = values.new_zeros(len(sizes), values.shape[1], dtype=torch.float64).index_add_(0, row, values.double())
    return sums / sizes[:, None]


def _components(count: int, first: Int[Tensor, "pairs"], second: Int[Tensor, "pairs"]) -> Int[Tensor, "images"]:
    """The connected components of a graph, numbered from 0 in the order of their first members."""
    lowest = torch.arange(count, device=first.device)
    while True:
        spread = lowest.scatter_reduce(0, second, lowest[first], "amin").scatter_reduce(
            0, first, lowest[second], "amin"
        )
        spread = spread[spread]  # jump ahead along the chain
        if torch.equal(spread, lowest):
            return lowest.unique(return_inverse=True)[1]
        lowest = spread
