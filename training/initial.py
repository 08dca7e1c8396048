"""The weights a network starts from."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from safetensors.torch import load_file
from torch import nn

from competition_layers import competitions


def load_initial_weights(model: nn.Module, source: str) -> None:
    """Change `model` in place: weights from a safetensors file, a model folder or a run folder.

    Tensors of another shape (a head of other classes) are left as they are and named.

    Raises:
        FileNotFoundError: no weights there. ValueError: none of them fits.
    """
    path = _find(source)
    weights, own = load_file(path), model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise ValueError(f"Expected weights for {type(model).__name__} in {str(path)!r} but none of its tensors fits")
    model.load_state_dict(fitting, strict=False)
    left = sorted(own.keys() - fitting.keys())
    rank_zero_info(f"{len(fitting)} tensors from {path}" + (f"; left as they were: {', '.join(left)}" if left else ""))


@torch.no_grad()
def scale_initial_weights(model: nn.Module, gain: float) -> None:
    """Change `model` in place: the weights (not biases) that feed each competition, times `gain`.

    A group passes one of U units, so what a competition gives has less variance than an activation's output.
    """
    feeding: nn.Module | None = None
    competing = set(competitions(model))
    for name, module in model.named_modules():
        if name in competing:
            if feeding is None:
                raise ValueError(f"Expected a layer with weights before the competition {name!r} but found none")
            feeding.weight.mul_(gain)
        elif getattr(module, "weight", None) is not None:
            feeding = module


def _find(source: str) -> Path:
    for path in (Path(source), Path(source) / "model.safetensors", Path(source) / "model" / "model.safetensors"):
        if path.is_file():
            if path.suffix != ".safetensors":
                raise ValueError(f"Expected a safetensors file but got {str(path)!r}; nothing is unpickled from files")
            return path
    raise FileNotFoundError(f"Expected weights (a safetensors file, a model or run folder) but got {source!r}")
