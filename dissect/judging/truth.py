"""Names against what is known to be in the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from ..naming.description import Description
from ..naming.permutation_test import standardised
from ..naming.predictability import auroc, average_precision

RIGHT = 0.7  # of the best correlation that any known concept reaches with the unit
_TOP_PLACES = 0.005  # Network Dissection (Bau et al. 2017, sec. 2.2)


@dataclass(frozen=True)
class Agreement:
    """How far names agree with the truth: means over the `units` whose name can be checked.

    `auc` is the chance that the unit is higher on an image with the named thing than on one without, `precision` the
    AUPRC of finding those images by the unit, `lift` that divided by their share. `right` is the share of units whose
    name correlates with them at least .7 times as much as the concept that does so most, of all that are known.
    """

    units: int
    right: float
    auc: float
    precision: float
    lift: float


def agreement(
    named: Sequence[Description], targets: Float[Tensor, "images units"], truth: Mapping[str, Int[Tensor, "images"]]
) -> Agreement | None:
    """The agreement of the units that have a name that can be checked; None without any.

    Args:
        truth: for each name, on which images it is true (1), false (0), or nobody can say (-1).
    """
    checked = [unit for unit in named if unit.description in truth and (truth[unit.description] == 1).any()]
    if not checked:
        return None
    names = list(truth)
    present = torch.stack([truth[name] == 1 for name in names], 1)
    own = torch.tensor([names.index(unit.description) for unit in checked])
    values = targets[:, [unit.unit for unit in checked]]
    with_each = standardised(values).T @ standardised(present.float())
    right = with_each.gather(1, own[:, None])[:, 0] >= RIGHT * with_each.amax(1)
    figures = [_checked(values[:, i], truth[unit.description]) for i, unit in enumerate(checked)]
    auc, precision, lift = (fmean(column) for column in zip(*figures, strict=True))
    return Agreement(len(checked), float(right.double().mean()), auc, precision, lift)


def overlap(
    maps: Float[Tensor, "images rows columns"],
    masks: Bool[Tensor, "images height width"],
    *,
    share: float = _TOP_PLACES,
) -> float:
    """IoU of where a unit is strongest and where a thing is, over all images (Network Dissection, eq. 1).

    The map is scaled up bilinearly to the mask's size; strong are the `share` of all places with the highest values,
    those at the smallest value never.
    """
    large = interpolate(maps[:, None].float(), size=masks.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    flat = large.flatten()
    bar = flat.topk(max(1, round(share * len(flat)))).values[-1]
    strong = (large >= bar) & (large > flat.min())
    either = (strong | masks).sum()
    return float((strong & masks).sum() / either) if either else 0.0


def _checked(values: Float[Tensor, "images"], truth: Int[Tensor, "images"]) -> tuple[float, float, float]:
    known = truth >= 0
    values, positive = values[known, None], truth[known, None] == 1
    precision = float(average_precision(values, positive))
    return float(auroc(values, positive)), precision, precision / float(positive.double().mean())
