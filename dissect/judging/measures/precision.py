"""AUPRC, both ways: a unit's top images found by its label, and the images with the label found by the unit."""

from jaxtyping import Float
from torch import Tensor

from ...naming.predictability import average_precision, top_precision
from .seen import Seen, where_known


def label_finds_unit(seen: Seen) -> Float[Tensor, "units"]:
    """AUPRC of finding each unit's top 5 % of the images by its label; chance gives their share."""
    return top_precision(seen.values, seen.concept)


def unit_finds_label(seen: Seen) -> Float[Tensor, "units"]:
    """AUPRC of finding the images with the label by the unit ("inverse AUPRC"); chance gives their share."""
    return where_known(seen, average_precision)
