"""One pass of the probe images through a network: each unit's value for each image, what it won, and where."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from competition_layers import (
    StochasticLWTA,
    competitions,
    evaluating,
    load_noise_state,
    noise_state,
    observe,
    seed_noise,
    winner_mask,
)
from competition_layers.names import match_names
from competition_layers.wiring.axes import channel_axes

from .maps import LayerMaps, layer_maps
from .subject import class_tokens, reads_class_token
from .summaries import check_summaries, of_competition, of_values, record_names
from .top_images import TopImages, content_ranks, grid_of, no_top_images, with_batch
from .unit_values import UnitValues

T = TypeVar("T")


class Recorder:
    """Records layers of one network, batch by batch: call it with inputs and the range of images that they are.

    `top_images` holds each layer's since `restart`.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], summaries: Sequence[str] | None) -> None:
        self.model, self.layers, self.summaries = model, tuple(layers), summaries
        self.device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
        self.top_images: dict[str, TopImages] = {}
        self.order = torch.empty(0, dtype=torch.int64)  # of the images since `restart`, by content
        self.axes: dict[str, int] = {}  # of each layer's units

    def restart(self, seed: int, hashes: Sequence[str] = ()) -> None:
        """Forget the top images; the noise of competitions starts at `seed`, so that a shard repeats by itself.

        Top images are kept where the `hashes` say what the images hold that follow.
        """
        self.top_images, self.order = {}, content_ranks(hashes)
        seed_noise(self.model, seed)

    @torch.no_grad()
    def __call__(self, x: Tensor, image_range: range) -> dict[str, dict[str, Tensor]]:
        """Each layer's summaries of the batch, under the names of `LayerRecord.tensors`, on the CPU.

        They are taken as each layer speaks: nothing large is kept, and a later module in place changes nothing.
        """

        def read(name: str, values: Tensor) -> dict[str, Tensor]:
            return self._read(name, values, image_range)

        seen = self._seen(x, read)
        return {name: {what: part.cpu() for what, part in seen[name].items()} for name in self.layers}

    @torch.no_grad()
    def maps(self, x: Tensor) -> dict[str, LayerMaps]:
        """Each layer's values at its positions for the batch, on the CPU."""
        return self._seen(x, self._maps)

    def _seen(self, x: Tensor, read: Callable[[str, Tensor], T]) -> dict[str, T]:
        """What `read` makes of each layer's own values in one pass: a competition's inputs, another's outputs."""
        x = x.to(self.device)
        self.axes = self.axes or channel_axes(self.model, self.layers, x)
        competing = [name for name in competitions(self.model) if name in self.layers]
        others = [name for name in self.layers if name not in competing]
        with (
            observe(self.model, competing, what="input", read=read) as from_inputs,
            observe(self.model, others, read=read) as from_outputs,
        ):
            self.model(x)
        return {**from_inputs, **from_outputs}

    def _read(self, name: str, values: Tensor, image_range: range) -> dict[str, Tensor]:
        y, won, grid, prefix = self._positions(name, values)
        chosen = self._chosen(name, prefix)
        if won is None:
            flat = record_names(of_values(y, chosen, prefix=prefix))
        else:
            flat = of_competition(y, won, chosen, prefix=prefix)
            y = y * won
        if len(self.order):
            kept = self.top_images.get(name) or no_top_images(y.shape[1], grid, y.device)
            said = UnitValues(flat[f"summary.{chosen[0]}"], flat.get(f"won.{chosen[0]}"))
            self.top_images[name] = with_batch(kept, image_range, said, y, grid, self.order)
        return flat

    def _maps(self, name: str, values: Tensor) -> LayerMaps:
        y, won, grid, _ = self._positions(name, values)
        return layer_maps(y, won, grid)

    def _positions(self, name: str, values: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int] | None, int]:
        """A layer's values (images, units, positions), where they won, the grid they form, and how many positions
        before it are class tokens."""
        if not isinstance(values, Tensor) or values.ndim < 2:
            what = type(values).__name__ if not isinstance(values, Tensor) else tuple(values.shape)
            raise ValueError(f"Expected layer {name!r} to give one tensor (images, ..., units) but got {what}")
        axis, layer = self.axes[name] % values.ndim, self.model.get_submodule(name)
        tokens = values.ndim == 2 or (values.ndim == 3 and axis == 2)
        prefix = class_tokens(self.model) if tokens else 0
        won = None
        if isinstance(layer, StochasticLWTA):
            won = positions(winner_mask(layer.winners(values), layer.groups), axis)
        return positions(values, axis), won, grid_of(values.shape, axis, prefix if values.ndim == 3 else 0), prefix

    def _chosen(self, layer: str, prefix: int) -> Sequence[str]:
        chosen = self.summaries or ["cls" if prefix and reads_class_token(self.model) else "mean"]
        for summary in ("cls", "tokens"):
            if summary in chosen and not prefix:
                raise ValueError(
                    f"Expected layer {layer!r} to have a class token for summary {summary!r} but got none; "
                    "use mean or max"
                )
        return chosen


@contextmanager
def recording(
    model: nn.Module, layers: str | Sequence[str], summaries: Sequence[str] | None = None
) -> Iterator[Recorder]:
    """A recorder of the layers that `layers` (names or globs) matches; inside the block `model` is in evaluation mode.

    Afterwards its mode and its noise are as they were.

    Raises:
        ValueError: an unknown layer or summary (the nearest is offered).
    """
    names = match_names(layers, [name for name, _ in model.named_modules() if name], what="layer")
    check_summaries(summaries or ())
    noise = noise_state(model)
    try:
        with evaluating(model):
            yield Recorder(model, names, summaries)
    finally:
        load_noise_state(model, noise)


def positions(x: Tensor, axis: int) -> Tensor:
    """(images, units, positions), whatever the layout, without a copy."""
    if x.ndim == 2:
        return x[:, :, None]
    return x.flatten(2) if axis == 1 else x.movedim(axis, -1).flatten(1, -2).transpose(1, 2)
