"""What switching a unit off does to every class."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers.attribution import logits_without

from ..probe.passes import batches
from ..probe.probe_images import ProbeImages
from ..recording.subject import default_transform

IMAGES = 64  # evenly spread over the probe


@torch.no_grad()
def class_effects(
    model: nn.Module, probe: ProbeImages, layer: str, units: Sequence[int], *, width: int
) -> Float[Tensor, "classes units"]:
    """What each class's logit loses on average over images when a unit of `layer` gives 0, a pass for each unit.

    Args:
        width: how many units the layer has.
    """
    places = torch.linspace(0, len(probe) - 1, min(IMAGES, len(probe))).round().long().tolist()
    losses: list[Tensor] = []
    seen = 0
    for x in batches(probe.some(places), default_transform(model), batch_size=IMAGES):
        off = torch.zeros(len(x), width, dtype=torch.bool, device=x.device)
        whole = logits_without(model, x, layer, off)
        seen += len(x)
        lost = []
        for unit in units:
            off[:, unit] = True
            lost.append((whole - logits_without(model, x, layer, off)).double().sum(0).cpu())
            off[:, unit] = False
        losses.append(torch.stack(lost, 1))
    return torch.stack(losses).sum(0) / seen
