"""Balance and focus in the objective of a network that ends in a decision layer: what a training pass leaves."""

from typing import Any

from torch import Tensor, nn

from competition_layers import DecisionLayer, StochasticLWTA, balance_loss, focus_loss


class Terms:
    """Holds `balance_loss` and `focus_loss` of the latest training pass of `model`, times their weights in `decision`,
    by hooks that stay on its decision layer. The units of a twin do not compete: nothing balances them."""

    def __init__(self, model: Any, decision: DecisionLayer):
        self.decision = decision
        self.left: dict[str, Tensor] = {}
        model.decision.register_forward_hook(self._balance)
        model.decision_votes.register_forward_hook(self._focus)

    def loss(self) -> Tensor:
        """The sum of both, of the latest pass.

        Raises:
            RuntimeError: the decision layer was silent.
        """
        if "focus" not in self.left:
            raise RuntimeError("Expected the decision layer to run in a training pass but it was silent")
        left, self.left = self.left, {}
        return self.decision.balance * left.get("balance", 0.0) + self.decision.focus * left["focus"]

    def _balance(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layer.training and isinstance(layer, StochasticLWTA):
            self.left["balance"] = balance_loss(inputs[0], layer.groups)

    def _focus(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layer.training:
            self.left["focus"] = focus_loss(inputs[0], output, layer.weight)
