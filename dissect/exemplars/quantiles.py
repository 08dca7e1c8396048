"""A quantile of each unit over all positions of all images, from one pass."""

from dataclasses import dataclass, field
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

BUDGET = 2**26  # numbers that may be kept: 256 MiB


@dataclass
class UpperQuantile:
    """The `quantile` of values that come in parts: `add` them, then `compute`.

    Of each unit only the largest values are kept that can still matter: exact while they fit `BUDGET`. Beyond, it is
    the quantile of every n-th position (`stride`), the same for all units: of m positions its rank is off by less than
    2 sqrt(quantile (1 - quantile) / m) in 95 of 100 cases. Parts in another order give the same.

    Args:
        total: positions of all images together. units: how many.
    """

    total: int
    units: int
    quantile: float
    budget: int = BUDGET
    _kept: list[Tensor] = field(default_factory=list)

    @property
    def stride(self) -> int:
        """Every how manyeth position is looked at: 1 is exact."""
        return max(1, ceil(self._wanted(1) * self.units / self.budget))

    def add(self, values: Float[Tensor, "images units positions"], image: int) -> None:
        """The values of some images; `image` is the place of the first."""
        flat = values.movedim(1, 0).flatten(1)
        start = -(image * values.shape[2]) % self.stride
        self._kept.append(self._largest(flat[:, start :: self.stride]))
        if sum(part.shape[1] for part in self._kept) > 2 * self._wanted(self.stride):
            self._kept = [self._largest(torch.cat(self._kept, 1))]

    def compute(self) -> Float[Tensor, "units"]:
        """The smallest value that at least the share `quantile` of all does not exceed."""
        kept = self._largest(torch.cat(self._kept, 1))
        return kept.amin(1).float()

    def _wanted(self, stride: int) -> int:
        """How many of the largest values the quantile is the smallest of."""
        seen = -(-self.total // stride)
        return seen - ceil(self.quantile * seen) + 1

    def _largest(self, values: Tensor) -> Tensor:
        return values.topk(min(self._wanted(self.stride), values.shape[1]), dim=1).values
