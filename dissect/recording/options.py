"""How a network is recorded: which layers, what stands for an image, from which input, how many images a step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from competition_layers import competitions
from competition_layers.names import match_names, nearest

from ..fingerprints import transform_fingerprint
from ..probe.passes import Transform
from ..probe.probe_images import ProbeImages
from .subject import default_layer, default_transform
from .summaries import SUMMARIES

AUTO = "auto"


@dataclass(frozen=True)
class RecordingOptions:
    """Options of a recording.

    Args:
        layers: names or globs of modules; None is the last place where units compete (or could).
        summary: a name of `SUMMARIES`; `auto` is the class token where the network reads its answer from it, else the
            mean.
        transform: from a picture to the network's input; None is the model's own.
        batch_size: images a step.
    """

    layers: str | Sequence[str] | None = None
    summary: str = AUTO
    transform: Transform | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        known = (AUTO, *SUMMARIES)
        if self.summary not in known:
            raise ValueError(
                f"Expected a summary among {', '.join(known)} but got {self.summary!r}{nearest(self.summary, known)}"
            )
        if self.batch_size < 1:
            raise ValueError(f"Expected a batch_size of at least 1 but got {self.batch_size}")

    @property
    def summaries(self) -> tuple[str] | None:
        """As `recording` takes them: None is one that fits each layer."""
        return None if self.summary == AUTO else (self.summary,)

    def resolved(self, model: nn.Module, probe: ProbeImages) -> Self:
        """The same with the names of the layers and with a transform.

        Raises:
            ValueError: an unknown layer (the nearest is offered), or a network without a transform.
        """
        transform = self.transform or default_transform(model)
        layers = self.layers
        if layers is None:
            first = next(model.parameters(), torch.empty(0))
            layers = default_layer(model, transform(probe[0])[None].to(first.device))
        names = match_names(layers, [name for name, _ in model.named_modules() if name], what="layer")
        return replace(self, layers=tuple(names), transform=transform)

    def recorded(self, model: nn.Module) -> dict[str, Any]:
        """What a recording depends on, as the manifest says it; of `resolved` options."""
        assert self.layers is not None and self.transform is not None
        sampled = any(layer.competition.inference == "sample" for layer in competitions(model).values())
        return {
            "layers": list(self.layers),
            "summary": self.summary,
            "transform": transform_fingerprint(self.transform),
            "batch_size": self.batch_size if sampled else None,  # noise falls differently in other batches
        }
