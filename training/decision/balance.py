"""The balance term of a decision layer's objective: what a training pass leaves."""

from typing import Any

from torch import Tensor, nn

from competition_layers import StochasticLWTA, balance_loss


class Balance:
    """Holds `balance_loss` of the latest training pass of `model`, by a hook that stays on its `decision`."""

    def __init__(self, model: Any):
        self.left: list[Tensor] = []
        model.decision.register_forward_hook(self._hook)

    def loss(self) -> Tensor:
        """The term of the latest pass.

        Raises:
            RuntimeError: the decision layer was silent.
        """
        if not self.left:
            raise RuntimeError("Expected the decision layer to run in a training pass but it was silent")
        return self.left.pop()

    def _hook(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layer.training and isinstance(layer, StochasticLWTA):
            self.left[:] = [balance_loss(inputs[0], layer.groups)]
