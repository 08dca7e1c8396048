"""`StochasticLWTA`: the module that stands where an activation stood. It holds numbers and calls `functional`."""

import math
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor, nn
from torch.fx import Proxy

from .competition import Competition
from .functional import compete, winners
from .groups import Groups, divisors
from .noise import Key
from .private_torch import assert_on_device
from .streams import NoiseStream, draw, drawn


class StochasticLWTA(nn.Module):
    """Units compete in groups of `competitors`; each group's winner passes with its sign, the others give 0.

    Args:
        competitors, channel_dim: U and the axis of the units, see `Groups`.
        competition: how they compete. The layer's can be replaced at any time:
            `layer.competition = dataclasses.replace(layer.competition, noise_scale=0.5)`.

    Raises:
        ValueError: a width that U does not divide. RuntimeError: a NaN came in (on a GPU: an assertion on the device).

    The noise comes from a stream of the layer's own, `stream`, never from torch's global generator.
    """

    def __init__(self, competitors: int, *, channel_dim: int, competition: Competition = Competition()):
        super().__init__()
        if competition.activation != "competition":
            raise ValueError(f"Expected a competition but got {competition.activation!r}: TwinActivation is its layer")
        self.groups = Groups(competitors, channel_dim, competition.layout)
        self._competition = competition
        self.name = ""  # the dotted name in its model, for error texts
        self.stream = NoiseStream()

    @property
    def competition(self) -> Competition:
        return self._competition

    @competition.setter
    def competition(self, competition: Competition) -> None:
        self.groups = replace(self.groups, layout=competition.layout)
        self._competition = competition

    def forward(self, h: Tensor) -> Tensor:
        if isinstance(h, Proxy):  # torch.fx is tracing: a competition stays whole in its graph
            return h.tracer.create_proxy("call_module", h.tracer.path_of_module(self), (h,), {})
        width, competitors = h.shape[self.groups.channel_dim], self.groups.competitors
        if width % competitors:
            raise ValueError(
                f"Expected the width of layer {self.name or 'StochasticLWTA'!r} to be a multiple of competitors="
                f"{competitors} but got {width}; numbers that would do: {', '.join(map(str, divisors(width)))}"
            )
        noise = self.draw(h) if self.noisy else None
        # in evaluation the gradient is that of what was computed; the estimator's is for training
        temperature = self.competition.temperature if self.training else math.inf
        y, index = compete(h, self.groups, noise=noise, temperature=temperature, **self._rules())
        if index.numel():
            assert_numbers(index.amax() < competitors, self.name)  # on a CPU, `all` is 25 times slower
        return y

    @property
    def noisy(self) -> bool:
        """Whether the next forward pass draws noise."""
        return self.competition.stochastic and (self.training or self.competition.inference == "sample")

    def draw(self, h: Tensor) -> Key | Tensor | None:
        """The noise of a new pass over `h`, as `functional.lwta` takes it."""
        return draw(self.stream, h, self.groups, self.competition.estimator, self.name)

    def drawn(self, h: Tensor) -> Key | Tensor | None:
        """The noise of the latest pass, whose input was `h`, once more."""
        return drawn(self.stream, h, self.groups, self.competition.estimator)

    def winners(self, h: Tensor, *, sampled: bool | None = None) -> Tensor:
        """Who won in the latest pass, whose input was `h`: `functional.winners` with this layer's numbers.

        Args:
            sampled: whether winners met noise; by default as in that pass.
        """
        noisy = self.noisy if sampled is None else sampled and self.competition.stochastic
        return winners(h, self.groups, noise=self.drawn(h) if noisy else None, **self._rules())

    def extra_repr(self) -> str:
        named = (f"{name}={value!r}" for name, value in asdict(self.competition).items() if name != "activation")
        return f"{self.groups.competitors}, channel_dim={self.groups.channel_dim}, {', '.join(named)}"

    def _rules(self) -> dict[str, Any]:
        c = self.competition
        estimator = c.estimator if self.training or c.estimator != "relaxed" else "gumbel"
        return {"noise_scale": c.noise_scale, "estimator": estimator}


def competitions(model: nn.Module) -> dict[str, StochasticLWTA]:
    """The competitions of `model` by dotted name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, StochasticLWTA)}


def assert_numbers(all_right: Tensor, name: str) -> None:
    """Raise in the name of a layer unless `all_right`: asserted on the device, a GPU is not stopped to ask."""
    assert_on_device(
        all_right,
        f"Expected numbers in layer {name or 'StochasticLWTA'!r} but got NaN: training diverged (a lower learning "
        "rate, gradient clipping), or the input holds NaN",
    )
