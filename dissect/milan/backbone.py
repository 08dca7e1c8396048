"""What MILAN sees of an exemplar: a frozen network's features at several depths, averaged inside the mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from competition_layers import data_config

from ..fingerprints import digest, model_fingerprint
from ..recording.recorder import recording

BUNDLED_LAYERS = ("act3", "layer1", "layer2", "layer3", "layer4")  # of the bundled CLIP's image tower
_BATCH = 64


@dataclass(frozen=True)
class Backbone:
    """A frozen network, the layers that are looked at (five in the paper: the stem's and the four stages'), and how a
    square picture of `size` pixels becomes its input."""

    model: nn.Module
    layers: tuple[str, ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def identity(self) -> str:
        return digest(model_fingerprint(self.model), list(self.layers), self.size, list(self.mean), list(self.std))

    def features(
        self,
        pictures: Sequence[Image.Image],
        masks: Sequence[Float[Tensor, "_ _"]],
        of: Sequence[int] | None = None,
    ) -> Float[Tensor, "masks dim"]:
        """One vector a mask: at each depth the mean of the picture's features weighted by the mask, brought to the size
        of the map and to sum 1; an empty mask counts every place alike. The depths are concatenated.

        Pictures and masks are stretched to a square of `size` pixels; each picture is looked at once.

        Args:
            of: the place of each mask's picture; by default one mask a picture.
        """
        whose = torch.tensor(range(len(pictures)) if of is None else list(of))
        found: Tensor | None = None
        with recording(self.model, list(self.layers), ["mean"]) as recorder:
            for at in range(0, len(pictures), _BATCH):
                maps = recorder.maps(torch.stack([self._input(picture) for picture in pictures[at : at + _BATCH]]))
                here = ((whose >= at) & (whose < at + _BATCH)).nonzero()[:, 0]
                for some in here.split(_BATCH):
                    weights = torch.stack([self._mask(masks[i]) for i in some.tolist()])
                    seen = [masked_mean(maps[layer].values[whose[some] - at], weights) for layer in self.layers]
                    rows = torch.cat(seen, 1)
                    found = torch.zeros(len(masks), rows.shape[1]) if found is None else found
                    found[some] = rows
        assert found is not None
        return found

    def _input(self, picture: Image.Image) -> Tensor:
        square = picture.convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        x = torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255
        return (x - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]

    def _mask(self, mask: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(mask[None, None].float(), (self.size, self.size), mode="area")[0, 0]


def masked_mean(
    maps: Float[Tensor, "pictures channels height width"], weights: Float[Tensor, "pictures rows columns"]
) -> Float[Tensor, "pictures channels"]:
    """The mean over places, weighted by masks of any size; all places alike where a mask is empty."""
    small = adaptive_avg_pool2d(weights[:, None], maps.shape[2:]).flatten(2)
    small = torch.where(small.sum(2, keepdim=True) > 0, small, torch.ones_like(small))
    return (maps.flatten(2) * (small / small.sum(2, keepdim=True))).sum(2)


def backbone_of(model: nn.Module) -> Backbone:
    """A timm network as a backbone: its feature levels (of a ResNet conv1 and the four stages), the picture's size and
    normalisation that it was trained with.

    Raises:
        ValueError: it says nothing of feature levels.
    """
    levels = getattr(model, "feature_info", None)
    if not levels or not hasattr(model, "pretrained_cfg"):
        raise ValueError(
            f"Expected a backbone of timm, which says where its feature levels are, but got {type(model).__name__}"
        )
    config = data_config(model)
    layers = tuple(_of_level(model, level["module"]) for level in levels)
    return Backbone(model, layers, int(config["input_size"][-1]), tuple(config["mean"]), tuple(config["std"]))


def _of_level(model: nn.Module, module: str) -> str:
    """The layer of a feature level: where a stem's convolution has the channels that timm reads behind its activation,
    the convolution, as published."""
    return "conv1" if module == "act1" and isinstance(getattr(model, "conv1", None), nn.Conv2d) else module


def bundled_backbone() -> Backbone:
    """The image tower of the bundled CLIP, which knows the painted scenes: for them no other network is needed."""
    from ..encoders import bundled_clip

    model, _, _ = bundled_clip.load()
    visual = model.get_submodule("visual")
    return Backbone(visual, BUNDLED_LAYERS, 64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
