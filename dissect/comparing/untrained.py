"""The same network with random weights: what a figure is worth that an untrained network has as well."""

from copy import deepcopy

import torch
from torch import nn

FREE_DEVIATION = 0.02  # of parameters that no layer initialises (class tokens, position embeddings): as timm's ViTs


@torch.no_grad()
def untrained_twin(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of `model` with fresh weights, each layer's by torch's own rule for it; torch's generator is left alone.

    Parameters of more than one axis that belong to no such layer are normal; vectors (layer scales) stay.
    """
    twin = deepcopy(model)
    fresh: set[nn.Parameter] = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                fresh.update(module.parameters(recurse=False))
        for parameter in twin.parameters():
            if parameter not in fresh and parameter.ndim > 1:
                parameter.normal_(std=FREE_DEVIATION)
    return twin.train(model.training)
