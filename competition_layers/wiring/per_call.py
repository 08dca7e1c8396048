"""One activation that runs several times in a pass (a block's only `relu`), as one module for each of its calls."""

from copy import deepcopy
from typing import Any

from torch import Tensor, nn


class PerCallActivation(nn.ModuleList):
    """Its first part answers the first call of a pass, its second the second, and so on.

    So that every call can compete by itself, be named and be watched. Exact: activations without weights are alike.
    The parts start anew with each pass of the network `root`, also after one that an error cut short.
    """

    def __init__(self, activation: nn.Module, calls: int, *, root: nn.Module):
        super().__init__(deepcopy(activation) for _ in range(calls))
        self.turn = 0
        self.replaced = (activation,)  # in a tuple: no child module
        self.restarting = root.register_forward_pre_hook(self.restart)

    def forward(self, x: Tensor) -> Tensor:
        part, self.turn = self[self.turn], (self.turn + 1) % len(self)
        return part(x)

    def restart(self, *_: Any) -> None:
        self.turn = 0
