"""`StochasticLWTA`: the module that stands where an activation stood. It holds numbers and calls `functional`."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from .functional import ESTIMATORS, Estimator, compete, draw_from_torch, draw_noise, winners
from .groups import LAYOUTS, Layout, divisors
from .names import nearest
from .noise import Key, NoiseStream, key_of

Rule = Literal["argmax", "sample"]
RULES: tuple[Rule, ...] = ("argmax", "sample")


class StochasticLWTA(nn.Module):
    """Units compete in groups of `competitors`; each group's winner passes with its sign, the others give 0.

    In training the winner is argmax(h + noise * g) with standard Gumbel g; in evaluation `inference` decides: `argmax`
    (no noise) or `sample` (as in training). `noise=1` is the papers' Categorical(softmax(h)); `noise=0` competes
    deterministically, with the same straight-through gradient; so does `estimator="argmax"` at any noise.

    Args:
        competitors: U, at least 2 and at most 255 (winners are stored as uint8).
        channel_dim: the axis of the units: -1 for vectors, tokens and channels-last maps, 1 for channels-first maps.
            Never guessed from the number of dimensions.
        layout: which channels form a group, see `functional.lwta`.
        temperature: tau of the straight-through gradient; no effect forward.
        noise: scale of the Gumbel noise.
        inference: the rule in evaluation mode; saved with the model.
        estimator: what trains through the competition, see `functional`; `relaxed` is soft in training only.

    Raises:
        ValueError: a width that U does not divide. RuntimeError: a NaN came in (on a GPU: an assertion on the device).

    The noise comes from a stream of the layer's own, `stream`, never from torch's global generator.
    """

    def __init__(
        self,
        competitors: int,
        *,
        channel_dim: int,
        layout: Layout = "strided",
        temperature: float = 1.0,
        noise: float = 1.0,
        inference: Rule = "argmax",
        estimator: Estimator = "gumbel",
    ):
        super().__init__()
        if not 2 <= competitors <= 255:
            raise ValueError(f"Expected competitors between 2 and 255 but got {competitors}; 1 means no competition")
        chosen = {"layout": (layout, LAYOUTS), "inference": (inference, RULES), "estimator": (estimator, ESTIMATORS)}
        for what, (value, known) in chosen.items():
            if value not in known:
                raise ValueError(
                    f"Expected {what} to be one of {', '.join(known)} but got {value!r}{nearest(str(value), known)}"
                )
        if temperature <= 0 or noise < 0:
            raise ValueError(f"Expected temperature > 0 and noise >= 0 but got {temperature} and {noise}")
        self.competitors = competitors
        self.channel_dim = channel_dim
        self.layout: Layout = layout
        self.temperature = temperature
        self.noise = noise
        self.inference: Rule = inference
        self.estimator: Estimator = estimator
        self.name = ""  # the dotted name in its model, for error texts
        self.stream = NoiseStream()
        self.held: int | None = None  # a seed: every pass and every image (axis 0) meets one noise, see `fixed_noise`

    def forward(self, h: Tensor) -> Tensor:
        width = h.shape[self.channel_dim]
        if width % self.competitors:
            raise ValueError(
                f"Expected the width of layer {self.name or 'StochasticLWTA'!r} to be a multiple of competitors="
                f"{self.competitors} but got {width}; numbers that would do: {', '.join(map(str, divisors(width)))}"
            )
        y, index = compete(
            h,
            self.competitors,
            noise=self.draw(h) if self.noisy else None,
            temperature=self.temperature,
            **self._rules(),
        )
        assert_numbers((index < self.competitors).all(), self.name)
        return y

    @property
    def noisy(self) -> bool:
        """Whether the next forward pass draws noise."""
        return self.stochastic and (self.training or self.inference == "sample")

    @property
    def stochastic(self) -> bool:
        """Whether noise can say who wins."""
        return self.noise > 0 and self.estimator != "argmax"

    def draw(self, h: Tensor) -> Key | Tensor | None:
        """The noise of a new pass over `h`, as `functional.lwta` takes it."""
        if self.held is not None:
            return self.drawn(h)
        if torch.compiler.is_compiling():  # inductor's C++ fails on the integers of a key in whole networks
            return draw_from_torch(h, self.competitors, channel_dim=self.channel_dim, estimator=self.estimator)
        return self.stream.next(h, self.name)

    def drawn(self, h: Tensor) -> Key | Tensor | None:
        """The noise of the latest pass, whose input was `h`, once more."""
        if self.held is None:
            return self.stream.latest()
        rules = {"channel_dim": self.channel_dim, "estimator": self.estimator}
        noise = draw_noise(h[:1], self.competitors, key_of(self.held), **rules)
        return None if noise is None else noise.expand(len(h), *noise.shape[1:])

    def winners(self, h: Tensor, *, sampled: bool | None = None) -> Tensor:
        """Who won in the latest pass, whose input was `h`: `functional.winners` with this layer's numbers.

        Args:
            sampled: whether winners met noise; by default as in that pass.
        """
        noisy = self.noisy if sampled is None else sampled and self.stochastic
        return winners(h, self.competitors, noise=self.drawn(h) if noisy else None, **self._rules())

    def extra_repr(self) -> str:
        return (
            f"{self.competitors}, channel_dim={self.channel_dim}, layout={self.layout!r}, "
            f"temperature={self.temperature:g}, noise={self.noise:g}, inference={self.inference!r}, "
            f"estimator={self.estimator!r}"
        )

    def _rules(self) -> dict[str, Any]:
        return {
            "channel_dim": self.channel_dim,
            "layout": self.layout,
            "noise_scale": self.noise,
            "estimator": self.estimator if self.training or self.estimator != "relaxed" else "gumbel",
        }


def assert_numbers(all_right: Tensor, name: str) -> None:
    """Raise in the name of a layer unless `all_right`: asserted on the device, a GPU is not stopped to ask."""
    torch._assert_async(
        all_right,
        f"Expected numbers in layer {name or 'StochasticLWTA'!r} but got NaN: training diverged (a lower learning "
        "rate, gradient clipping), or the input holds NaN",
    )
