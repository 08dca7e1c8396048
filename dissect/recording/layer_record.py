"""What the units of one layer did on the probe images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .top_images import TopImages
from .unit_values import UnitValues


@dataclass(frozen=True)
class LayerRecord:
    """What the units of one layer did on the probe images.

    `summaries` maps the names of `SUMMARIES` to values. For a competition, `won` says under the same names which images
    a unit won (`cls`: on the class token; `tokens`: on another one; the others: at some position); `win_rate` and
    `value_when_winning` are over all `positions`, or the class token where `cls` is the only summary. Other layers have
    `None` there. `top_images` are each unit's by the first summary.
    """

    layer: str
    summaries: Mapping[str, Float[Tensor, "images units"]]
    won: Mapping[str, Bool[Tensor, "images units"]] | None = None
    win_rate: Float[Tensor, "images units"] | None = None
    value_when_winning: Float[Tensor, "images units"] | None = None
    top_images: TopImages | None = None
    positions: Int[Tensor, "images"] | None = None

    def unit_values(self, summary: str) -> UnitValues:
        """What stands for an image by one summary, and whether the unit won it.

        Raises:
            ValueError: a summary that was not recorded.
        """
        if summary not in self.summaries:
            known = ", ".join(self.summaries)
            raise ValueError(f"Expected a recorded summary of layer {self.layer!r} ({known}) but got {summary!r}")
        return UnitValues(self.summaries[summary], None if self.won is None else self.won[summary])

    def support(self, summary: str) -> Tensor:
        """On how many images each unit says something."""
        return self.unit_values(summary).support

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the top images under flat names; `from_tensors` reads it back."""
        flat = {f"summary.{name}": values for name, values in self.summaries.items()}
        if self.won is not None:
            flat |= {f"won.{name}": mask for name, mask in self.won.items()}
            flat |= {name: getattr(self, name) for name in ("win_rate", "value_when_winning", "positions")}
        return flat

    @classmethod
    def from_tensors(cls, layer: str, flat: Mapping[str, Tensor], top_images: TopImages | None = None) -> "LayerRecord":
        won = {name.removeprefix("won."): mask for name, mask in flat.items() if name.startswith("won.")}
        return cls(
            layer=layer,
            summaries={n.removeprefix("summary."): values for n, values in flat.items() if n.startswith("summary.")},
            won=won or None,
            win_rate=flat.get("win_rate"),
            value_when_winning=flat.get("value_when_winning"),
            top_images=top_images,
            positions=flat.get("positions"),
        )


def joined(parts: Iterable[tuple[range, Mapping[str, Tensor]]], num_images: int) -> dict[str, Tensor]:
    """The rows of all parts in one tensor a name, without holding them twice."""
    whole: dict[str, Tensor] = {}
    for rows, flat in parts:
        for name, part in flat.items():
            if name not in whole:
                whole[name] = torch.empty(num_images, *part.shape[1:], dtype=part.dtype)
            whole[name][rows.start : rows.stop] = part
    return whole
