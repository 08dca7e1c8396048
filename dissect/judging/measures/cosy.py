"""CoSy (Kopf et al. 2024, sec. 3): are a unit's values higher on pictures of its label than on the others?

There the pictures are generated. Here they may be retrieved from the held-out images. Both measures fail the test of
missing labels (pictures of half of what the unit knows score as well): they stand here for comparison.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...naming.predictability import auroc
from .seen import Seen, where_known


def cosy_auc(seen: Seen) -> Float[Tensor, "units"]:
    """The chance that a unit is higher on a picture of the label than on another one; ties count half."""
    return where_known(seen, auroc)


def cosy_mad(seen: Seen) -> Float[Tensor, "units"]:
    """(mean over pictures of the label - mean of all) / standard deviation of all; 0 for a constant unit."""
    return where_known(seen, _mad)


def _mad(values: Float[Tensor, "images units"], present: Bool[Tensor, "images units"]) -> Float[Tensor, "units"]:
    values = values.double()
    spread = values.std(0, correction=0)
    excess = (values * present).sum(0) / present.sum(0) - values.mean(0)
    return torch.where(spread > 0, excess / spread, 0.0)
