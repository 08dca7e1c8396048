"""Do a layer's units answer to pictures, or to groups of them: frames of one clip, crops of one photo?"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from .blocks import BY_NAME, blocks_by
from .permutation_test import standardised

ALIKE = 0.8  # mean correlation of a layer's units; pictures that are apart reach .2 (photos) to .75 (painted scenes)
_QUERIES = 1000


def alikeness_warnings(
    values: Float[Tensor, "images units"],
    image_embeddings: Float[Tensor, "images dim"],
    names: Sequence[str],
    blocks: Sequence[str] | None,
) -> list[str]:
    """What to tell of a layer whose units are more alike than pictures that are apart allow: in one folder, with one
    prefix, among nearest neighbours. Pictures of one of the user's `blocks` are one observation and not compared."""
    number = {block: i for i, block in enumerate(blocks or names)}
    own = torch.tensor([number[block] for block in blocks or names], device=values.device)
    found = {} if blocks else {f"pictures of one {by}": alike_within(values, blocks_by(names, by)) for by in BY_NAME}
    found["pictures and their nearest neighbours"] = alike_among_neighbours(values, image_embeddings, own)
    return [
        f"{what} have nearly the same values (correlated by {share:.2f}): if they are frames of a clip or parts of a "
        "photo, names hold by chance; say what belongs together, --blocks folder, prefix or TABLE.csv"
        for what, share in found.items()
        if share > ALIKE
    ]


def alike_among_neighbours(
    values: Float[Tensor, "images units"],
    image_embeddings: Float[Tensor, "images dim"],
    blocks: Int[Tensor, "images"],
) -> float:
    """The mean over the units of the correlation between an image and the nearest one that is not of its block; over
    1,000 images at most, evenly spread."""
    some = torch.arange(0, len(values), -(-len(values) // _QUERIES), device=values.device)
    centred = normalize(image_embeddings.float() - image_embeddings.float().mean(0), dim=1)
    cosines = centred[some] @ centred.T
    cosines[blocks[some, None] == blocks] = -torch.inf
    return _mean_correlation(values, some, cosines.argmax(1))


def alike_within(values: Float[Tensor, "images units"], groups: Sequence[str]) -> float:
    """The mean over the units of the correlation between two images of a group: each with the next of its own."""
    order = sorted(range(len(groups)), key=groups.__getitem__)
    pairs = [(i, j) for i, j in pairwise(order) if groups[i] == groups[j]]
    if not pairs:
        return 0.0
    first, second = torch.tensor(pairs, device=values.device).T
    return _mean_correlation(values, first, second)


def _mean_correlation(values: Tensor, first: Tensor, second: Tensor) -> float:
    """Over pairs of images, by the variance over all images; units that do not vary are left out."""
    scaled = standardised(values) * len(values) ** 0.5
    varying = scaled.any(0)
    return float((scaled[first] * scaled[second]).mean(0)[varying].mean()) if varying.any() else 0.0
