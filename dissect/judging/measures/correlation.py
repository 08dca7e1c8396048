"""Correlation: Pearson's, of a unit with what its label promises, over all images."""

from jaxtyping import Float
from torch import Tensor

from ...naming.predictability import correlation as pearson
from .seen import Seen, where_known


def correlation(seen: Seen) -> Float[Tensor, "units"]:
    """r of each unit with its label's score; 0 where either is constant (Oikarinen et al. 2025, sec. 3)."""
    return pearson(seen.values, seen.concept)


def correlation_with_truth(seen: Seen) -> Float[Tensor, "units"]:
    """r of each unit with its label's presence, over the images where that is known."""
    return where_known(seen, lambda values, present: pearson(values, present.double()))
