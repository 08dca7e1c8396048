"""`StochasticLWTA`: the module that stands where an activation stood. It holds numbers and calls `functional`."""

from typing import Literal

import torch
from torch import Tensor, nn

from .functional import LAYOUTS, Layout, divisors, gumbel_noise, lwta

Rule = Literal["argmax", "sample"]
RULES: tuple[Rule, ...] = ("argmax", "sample")


class StochasticLWTA(nn.Module):
    """Units compete in groups of `competitors`; each group's winner passes with its sign, the others give 0.

    In training the winner is argmax(h + noise * g) with standard Gumbel g; in evaluation `inference` decides: `argmax`
    (no noise) or `sample` (as in training). `noise=1` is the papers' Categorical(softmax(h)); `noise=0` competes
    deterministically, with the same straight-through gradient.

    Args:
        competitors: U, at least 2 and at most 255 (winners are stored as uint8).
        channel_dim: the axis of the units: -1 for vectors, tokens and channels-last maps, 1 for channels-first maps.
            Never guessed from the number of dimensions.
        layout: which channels form a group, see `functional.lwta`.
        temperature: tau of the straight-through gradient; no effect forward.
        noise: scale of the Gumbel noise.
        inference: the rule in evaluation mode; saved with the model.

    The noise comes from a generator of the layer's own, never from torch's global one: `seed` sets it.
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
    ):
        super().__init__()
        if not 2 <= competitors <= 255:
            raise ValueError(f"Expected competitors between 2 and 255 but got {competitors}; 1 means no competition")
        if layout not in LAYOUTS:
            raise ValueError(f"Expected layout to be one of {', '.join(LAYOUTS)} but got {layout!r}")
        if inference not in RULES:
            raise ValueError(f"Expected inference to be one of {', '.join(RULES)} but got {inference!r}")
        if temperature <= 0 or noise < 0:
            raise ValueError(f"Expected temperature > 0 and noise >= 0 but got {temperature} and {noise}")
        self.competitors = competitors
        self.channel_dim = channel_dim
        self.layout: Layout = layout
        self.temperature = temperature
        self.noise = noise
        self.inference: Rule = inference
        self.name = ""  # the dotted name in its model, for error texts
        self._seed = 0
        self._generator: torch.Generator | None = None
        self._stream: Tensor | None = None  # a state to go on from, until the first draw shows the device

    def forward(self, h: Tensor) -> Tensor:
        width = h.shape[self.channel_dim]
        if width % self.competitors:
            raise ValueError(
                f"Expected the width of layer {self.name or 'StochasticLWTA'!r} to be a multiple of competitors="
                f"{self.competitors} but got {width}; numbers that would do: {', '.join(map(str, divisors(width)))}"
            )
        return lwta(
            h,
            self.competitors,
            channel_dim=self.channel_dim,
            layout=self.layout,
            noise=self.draw(h) if self.noisy else None,
            temperature=self.temperature,
        )

    @property
    def noisy(self) -> bool:
        """Whether the next forward pass draws noise."""
        return self.noise > 0 and (self.training or self.inference == "sample")

    def draw(self, h: Tensor) -> Tensor:
        """The scaled noise for `h`, from this layer's own stream.

        While a graph is compiled or exported it comes from torch's: an explicit generator cannot be traced.
        """
        if torch.compiler.is_compiling():
            return gumbel_noise(h) * self.noise
        if self._generator is None or self._generator.device != h.device:
            self._generator = torch.Generator(h.device).manual_seed(self._seed)
            if self._stream is not None:
                self._generator.set_state(self._stream)
                self._stream = None
        return gumbel_noise(h, generator=self._generator).mul_(self.noise)

    def seed(self, seed: int) -> None:
        """Restart this layer's noise at `seed`."""
        self._seed, self._generator, self._stream = seed, None, None

    def stream(self) -> tuple[int, Tensor | None]:
        """Where the noise stands: the seed, and the generator's state once something was drawn."""
        return self._seed, self._stream if self._generator is None else self._generator.get_state()

    def restore(self, seed: int, stream: Tensor | None) -> None:
        """Put the noise where `stream` found it; the next draw must be on the same kind of device."""
        self._seed, self._generator, self._stream = seed, None, stream

    def extra_repr(self) -> str:
        return (
            f"{self.competitors}, channel_dim={self.channel_dim}, layout={self.layout!r}, "
            f"temperature={self.temperature:g}, noise={self.noise:g}, inference={self.inference!r}"
        )

    def __getstate__(self):
        # a generator cannot be copied: a copy of the layer starts its noise anew at the same seed
        return {**self.__dict__, "_generator": None}
