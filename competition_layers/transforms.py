"""How a picture becomes a network's input: as timm makes it of the network's own words, or in a way of its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .backbones import data_config

_OF_PICTURES = ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")


def plain_transform(model: nn.Module) -> Callable[[Any], Any]:
    """For evaluation: what the model carries (`image_transform`), else timm's transform of its data configuration.

    Raises:
        ValueError: it has neither.
    """
    own = getattr(model, "image_transform", None)
    if callable(own):
        return own  # type: ignore[no-any-return]
    if not hasattr(model, "pretrained_cfg"):
        raise ValueError(
            f"Expected a network that says how a picture becomes its input but {type(model).__name__} does not: set "
            "model.image_transform, or let the function that makes it return the network and its transform (for "
            "torchvision's, the weights' transforms())"
        )
    from timm.data import create_transform  # seconds to import: only where a transform is needed

    return create_transform(**_said(model), is_training=False)  # type: ignore[no-any-return]


def training_transform(
    model: nn.Module, *, interpolation: str | None = None, **augmentation: Any
) -> Callable[[Any], Any]:
    """timm's augmentation of a picture; where the model carries a transform of its own, that comes after it.

    Args:
        interpolation: by default the network's.
        augmentation: goes to timm's `create_transform` (`scale`, `ratio`, `hflip`, `auto_augment`, `re_prob`, ...).

    Raises:
        ValueError: erasing, which follows a transform of pixels, before one of the network's own.
    """
    from timm.data import create_transform
    from torchvision.transforms import Compose

    said = _said(model)
    if interpolation:
        said["interpolation"] = interpolation
    own = getattr(model, "image_transform", None)
    if not callable(own):
        return create_transform(**said, is_training=True, **augmentation)  # type: ignore[no-any-return]
    if augmentation.get("re_prob"):
        raise ValueError(
            "Expected no augmentation.erase for a network with a transform of its own: it erases pixels that are "
            "normalised, after timm's transform"
        )
    of_pictures = create_transform(**said, is_training=True, separate=True, **augmentation)[:2]
    return Compose([*of_pictures, own])


def pixel_scale(model: Any) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation [3, 1, 1] by which a network's transform makes inputs of pixels; None where it says none."""
    own = getattr(model, "image_transform", None)
    if callable(own):
        found = [
            part for part in (own, *getattr(own, "transforms", ())) if hasattr(part, "mean") and hasattr(part, "std")
        ]
        if not found:
            return None
        mean, std = found[-1].mean, found[-1].std
    elif hasattr(model, "pretrained_cfg"):
        said = data_config(model)
        mean, std = said["mean"], said["std"]
    else:
        return None
    mean, std = (torch.as_tensor(each, dtype=torch.float32).view(-1, 1, 1) for each in (mean, std))
    return mean, std


def _said(model: nn.Module) -> dict[str, Any]:
    config = data_config(model)
    return {key: config[key] for key in _OF_PICTURES}
