"""F1 and IoU: a unit's top images against those that carry its label."""

from jaxtyping import Bool, Float
from torch import Tensor

from .seen import Seen, on, where_known


def f1(seen: Seen) -> Float[Tensor, "units"]:
    """2 |on and present| / (|on| + |present|); a unit is on for its top 5 % of the images."""
    return where_known(seen, _f1)


def iou(seen: Seen) -> Float[Tensor, "units"]:
    """|on and present| / |on or present|."""
    return where_known(seen, _iou)


def _f1(values: Float[Tensor, "images units"], present: Bool[Tensor, "images units"]) -> Float[Tensor, "units"]:
    high = on(values)
    return 2 * (high & present).sum(0) / (high.sum(0) + present.sum(0))


def _iou(values: Float[Tensor, "images units"], present: Bool[Tensor, "images units"]) -> Float[Tensor, "units"]:
    high = on(values)
    return (high & present).sum(0) / (high | present).sum(0)
