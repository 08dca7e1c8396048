"""How Describe-and-Dissect scores labels: by how the unit ranks pictures made of each (Bai et al. 2024, step 3).

Ranks are of all made pictures of all labels together, 0 is the unit's strongest.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

BEST = 5  # beta: ranks of a label that count
TOP = 10  # made pictures that are compared with the unit's own
NONE = -1.0  # similarity of a label without a picture among those

SCORINGS = ("mean", "topk-sq-mean", "image-products", "topk-compare")


def joint_ranks(values: Float[Tensor, "pictures"]) -> Int[Tensor, "pictures"]:
    """The rank of each picture, the largest value 0; among equals the earlier first.

    >>> joint_ranks(torch.tensor([1.0, 3.0, 2.0])).tolist()
    [2, 0, 1]
    """
    order = values.sort(descending=True, stable=True).indices
    return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))


def top_squares(ranks: Int[Tensor, "pictures"]) -> float:
    """Mean square of a label's `BEST` smallest ranks: lower is better; infinite without any.

    >>> top_squares(torch.tensor([0, 1, 2, 3, 4, 40]))
    6.0
    """
    return float(ranks.sort().values[:BEST].double().square().mean()) if len(ranks) else float("inf")


def image_products(
    own: Float[Tensor, "exemplars dim"], made: Float[Tensor, "pictures dim"], ranks: Int[Tensor, "pictures"]
) -> float:
    """Mean cosine of the unit's own pictures with a label's made ones among the first `TOP`; -1 if none is there."""
    counted = made[ranks < TOP]
    return float((own @ counted.T).mean()) if len(counted) else NONE


def label_scores(
    ranks: Sequence[Int[Tensor, "_"]], products: Sequence[float], *, scoring: str = "topk-compare"
) -> list[float]:
    """One score a label, higher is better, by one of `SCORINGS`.

    `mean`: minus the mean rank. `topk-sq-mean`: minus the mean square of the best five. `image-products`: the cosine
    with the unit's own pictures. `topk-compare`, the published combination: L labels in the order of `topk-sq-mean`,
    (L - position) times the cosine.

    Raises:
        ValueError: another scoring.
    """
    squares = [top_squares(of) for of in ranks]
    if scoring == "mean":
        return [-float(of.double().mean()) if len(of) else -float("inf") for of in ranks]
    if scoring == "topk-sq-mean":
        return [-square for square in squares]
    if scoring == "image-products":
        return list(products)
    if scoring == "topk-compare":
        order = sorted(range(len(squares)), key=lambda j: squares[j])
        position = {label: at for at, label in enumerate(order)}
        return [(len(squares) - position[j]) * products[j] for j in range(len(squares))]
    raise ValueError(f"Expected a scoring among {', '.join(SCORINGS)} but got {scoring!r}")
