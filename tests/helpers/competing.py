"""Changing how the competitions of a model compete."""

from dataclasses import replace

from torch import nn

from competition_layers import competitions


def change(model: nn.Module, **values) -> nn.Module:
    """Change `model` in place: its competitions (itself, if it is one) compete with these values of `Competition`."""
    for layer in competitions(model).values():
        layer.competition = replace(layer.competition, **values)
    return model
