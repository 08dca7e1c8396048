"""`StochasticLWTA`: the module that stands where an activation stood. It holds numbers and calls `functional`."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from .competition import Competition
from .functional import compete, draw_from_torch, draw_noise, winners
from .groups import Groups, divisors
from .noise import Key, NoiseStream, key_of
from .private_torch import assert_on_device


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

    def __init__(self, competitors: int, *, channel_dim: int, competition: Competition = Competition()):  # noqa: B008
        super().__init__()
        self.groups = Groups(competitors, channel_dim, competition.layout)
        self._competition = competition
        self.name = ""  # the dotted name in its model, for error texts
        self.stream = NoiseStream()
        self.fixed_seed: int | None = None  # every pass and every image (axis 0) meets one noise, see `fixed_noise`

    @property
    def competition(self) -> Competition:
        return self._competition

    @competition.setter
    def competition(self, competition: Competition) -> None:
        self.groups = replace(self.groups, layout=competition.layout)
        self._competition = competition

    def forward(self, h: Tensor) -> Tensor:
        width, competitors = h.shape[self.groups.channel_dim], self.groups.competitors
        if width % competitors:
            raise ValueError(
                f"Expected the width of layer {self.name or 'StochasticLWTA'!r} to be a multiple of competitors="
                f"{competitors} but got {width}; numbers that would do: {', '.join(map(str, divisors(width)))}"
            )
        noise = self.draw(h) if self.noisy else None
        y, index = compete(h, self.groups, noise=noise, temperature=self.competition.temperature, **self._rules())
        assert_numbers((index < competitors).all(), self.name)
        return y

    @property
    def noisy(self) -> bool:
        """Whether the next forward pass draws noise."""
        return self.competition.stochastic and (self.training or self.competition.inference == "sample")

    def draw(self, h: Tensor) -> Key | Tensor | None:
        """The noise of a new pass over `h`, as `functional.lwta` takes it."""
        if self.fixed_seed is not None:
            return self.drawn(h)
        if torch.compiler.is_compiling():  # inductor's C++ fails on the integers of a key in whole networks
            return draw_from_torch(h, self.groups, estimator=self.competition.estimator)
        return self.stream.next(h, self.name)

    def drawn(self, h: Tensor) -> Key | Tensor | None:
        """The noise of the latest pass, whose input was `h`, once more."""
        if self.fixed_seed is None:
            return self.stream.latest()
        noise = draw_noise(h[:1], self.groups, key_of(self.fixed_seed), estimator=self.competition.estimator)
        return None if noise is None else noise.expand(len(h), *noise.shape[1:])

    def winners(self, h: Tensor, *, sampled: bool | None = None) -> Tensor:
        """Who won in the latest pass, whose input was `h`: `functional.winners` with this layer's numbers.

        Args:
            sampled: whether winners met noise; by default as in that pass.
        """
        noisy = self.noisy if sampled is None else sampled and self.competition.stochastic
        return winners(h, self.groups, noise=self.drawn(h) if noisy else None, **self._rules())

    def extra_repr(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in asdict(self.competition).items())
        return f"{self.groups.competitors}, channel_dim={self.groups.channel_dim}, {options}"

    def _rules(self) -> dict[str, Any]:
        c = self.competition
        estimator = c.estimator if self.training or c.estimator != "relaxed" else "gumbel"
        return {"noise_scale": c.noise_scale, "estimator": estimator}


def assert_numbers(all_right: Tensor, name: str) -> None:
    """Raise in the name of a layer unless `all_right`: asserted on the device, a GPU is not stopped to ask."""
    assert_on_device(
        all_right,
        f"Expected numbers in layer {name or 'StochasticLWTA'!r} but got NaN: training diverged (a lower learning "
        "rate, gradient clipping), or the input holds NaN",
    )
