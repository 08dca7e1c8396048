"""Small networks, and changing how their competitions compete."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from competition_layers import competitions, create_model


def change(model: nn.Module, **values) -> nn.Module:
    """Change `model` in place: its competitions (itself, if it is one) compete with these values of `Competition`."""
    for layer in competitions(model).values():
        layer.competition = replace(layer.competition, **values)
    return model


def small_resnet(competitors: int, labels: Sequence[str], **options: Any) -> nn.Module:
    """An untrained ResNet at 32 px whose predictions differ between pictures."""
    torch.manual_seed(0)
    small = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "output_stride": 8}
    model = create_model(
        "resnet18",
        competitors=competitors,
        image_size=32,
        num_classes=len(labels),
        label_names=labels,
        **small,
        **options,
    )
    last = model.fc if "decision" not in options else model.decision_votes
    last.weight.data *= 20
    return model.eval()
