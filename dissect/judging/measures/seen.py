"""What a measure is shown: what units did, and what their labels promise of the same images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...naming.predictability import TOP_SHARE


@dataclass(frozen=True)
class Seen:
    """Two tables with a column a unit: its `values`, and what its label says of the same images (`concept`).

    `concept` is a score of any scale, or presence (1, 0, and NaN where nobody can say). `group` numbers the units that
    compete with one another, -1 for those that do not; None where nothing competes. Measures of classes have a row a
    class instead of a row an image.
    """

    values: Float[Tensor, "images units"]
    concept: Float[Tensor, "images units"]
    group: Int[Tensor, "units"] | None = None


def on(values: Float[Tensor, "images units"], *, share: float = TOP_SHARE) -> Bool[Tensor, "images units"]:
    """A column's top images: the `share` with the highest values and all that tie with the last of them, only those
    above the column's smallest value."""
    last = values.topk(max(1, round(share * len(values))), dim=0).values[-1]
    return (values >= last) & (values > values.amin(0))


def where_known(seen: Seen, score: Callable[[Tensor, Tensor], Tensor]) -> Float[Tensor, "units"]:
    """`score(values, present)` of each unit over the images where its label's presence is known; NaN for a unit whose
    label is not known to be present on some of them and absent on others."""
    found = torch.full((seen.values.shape[1],), torch.nan, dtype=torch.float64)
    present, sure = seen.concept > 0.5, ~seen.concept.isnan()
    both = present.any(0) & (sure & ~present).any(0)
    at_once = both & sure.all(0)
    if at_once.any():
        found[at_once] = score(seen.values[:, at_once], present[:, at_once]).double()
    for unit in (both & ~at_once).nonzero()[:, 0].tolist():
        rows = sure[:, unit]
        found[unit] = score(seen.values[rows, unit : unit + 1], present[rows, unit : unit + 1]).double()[0]
    return found
