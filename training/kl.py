"""The KL term of the objective: how far the competitions' posteriors are from the uniform prior."""

from torch import Tensor, nn

from competition_layers import StochasticLWTA, competition_kl, competitions


class KLToUniform:
    """What a training pass of `model` leaves, by hooks that stay: a graph is compiled with those that it finds."""

    def __init__(self, model: nn.Module):
        self.left: dict[str, Tensor] = {}
        self.names = list(competitions(model))
        for name in self.names:
            model.get_submodule(name).register_forward_hook(self._hook(name))

    def mean(self) -> Tensor | float:
        """The mean over layers of `competition_kl` in the latest pass; 0 where nothing competes.

        Raises:
            RuntimeError: a competition was silent.
        """
        silent = [name for name in self.names if name not in self.left]
        if silent:
            raise RuntimeError(f"Expected every competition to run in a training pass but got nothing of {silent}")
        return sum(self.left.pop(name) for name in self.names) / max(1, len(self.names))

    def _hook(self, name: str):
        left = self.left

        def hook(layer: StochasticLWTA, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if layer.training:
                left[name] = competition_kl(inputs[0], layer.groups)

        return hook
