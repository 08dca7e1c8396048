"""The weights a network starts from."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from competition_layers import competitions
from competition_layers.decision import SITE as DECISION
from competition_layers.foreign import read_config
from competition_layers.model_folder import with_known_names
from competition_layers.origins import is_function
from competition_layers.wiring.sites import survey

from .options import Start
from .quiet import print_once


def load_initial_weights(model: nn.Module, source: str) -> None:
    """Change `model` in place: weights from a safetensors file, a model folder or a run folder.

    A head for other classes keeps its fresh weights, which is told; everything else must fit.

    Raises:
        FileNotFoundError: no weights there.
        ValueError: tensors of the network are missing or have another shape, or it is not a safetensors file.
    """
    path = find_weights(source)
    own = model.state_dict()
    weights = with_known_names(load_file(path), own)
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    left = sorted(own.keys() - fitting.keys())
    heads = _heads(model)
    wrong = [name for name in left if not name.startswith(heads)]
    if wrong:
        shown = ", ".join(f"{name} {_shape(own, name)}, there {_shape(weights, name)}" for name in wrong[:3])
        raise ValueError(
            f"Expected weights of {type(model).__name__} in {str(path)!r} but {len(wrong)} differ: {shown}"
        )
    model.load_state_dict(fitting, strict=False)
    print_once(f"initial weights: {len(fitting)} tensors from {path}")
    for name in left:
        print_once(f"  fresh: {name} {_shape(own, name)}, there {_shape(weights, name)}")


def check_frozen(model: Any, start: Start) -> None:
    """Refuse a frozen backbone that competes otherwise than when its weights were trained; warn of random weights.

    Raises:
        ValueError: other competitions; says which would do.
    """
    if is_function(model.lwta.architecture) and not start.weights:
        return  # it has the weights that it was given
    if not start.pretrained and not start.weights:
        print_once(
            "WARNING: the frozen backbone has random weights; --model.start.pretrained true, or --model.start.weights "
            "FILE, gives it trained ones"
        )
        return
    trained = _competing(start.weights) if start.weights else {}
    built = {name: layer.groups.competitors for name, layer in competitions(model).items() if name != DECISION}
    if trained is not None and built != trained:
        raise ValueError(
            f"Expected a frozen backbone that competes as when its weights were trained ({_in_words(trained)}) but got "
            f"{_in_words(built)}; --model.competitors {max(trained.values(), default=1)}"
            f"{' and the --model.include of that run' if trained else ''}"
        )


def _competing(source: str) -> dict[str, int] | None:
    """The competitors of each competition that weights were trained with; None where no config.json says them."""
    config = find_weights(source).parent / "config.json"
    if not config.is_file():
        return None
    sites = read_config(config).get("competition", {}).get("sites", [])
    return {s["name"]: s["competitors"] for s in sites if s["competitors"] > 1 and s["name"] != DECISION}


def _in_words(competing: dict[str, int]) -> str:
    if not competing:
        return "nowhere"
    return f"{', '.join(map(str, sorted(set(competing.values()))))} competitors at {len(competing)} activations"


def find_weights(source: str) -> Path:
    """The safetensors file of that name, or of a model or run folder.

    Raises:
        FileNotFoundError: none there. ValueError: another kind of file.
    """
    for path in (Path(source), Path(source) / "model.safetensors", Path(source) / "model" / "model.safetensors"):
        if path.is_file():
            if path.suffix != ".safetensors":
                raise ValueError(f"Expected a safetensors file but got {str(path)!r}; nothing is unpickled from files")
            return path
    raise FileNotFoundError(f"Expected weights (a safetensors file, a model or run folder) but got {source!r}")


@torch.no_grad()
def scale_initial_weights(model: nn.Module, gain: float) -> None:
    """Change `model` in place: the weights (not biases) of the layers that competitions read, times `gain`.

    A group passes one of U units, so what a competition gives has less variance than an activation's output. Of a sum
    of branches each last layer is scaled; a shortcut that comes straight from another activation has none.

    Raises:
        ValueError: what feeds a competition keeps no weight; it is named.
    """
    fed_by = {a.name: a.fed_by for a in survey(model).activations}
    scales = {layer: _scale_of(model, layer) for name in competitions(model) for layer in fed_by[name]}
    for scale in scales.values():
        scale.mul_(gain)


def _scale_of(model: nn.Module, layer: str) -> nn.Parameter:
    """The parameter that a layer's output is proportional to: of timm's weight-standardised convolutions their gain."""
    module = model.get_submodule(layer)
    scale = module.gain if isinstance(getattr(module, "gain", None), nn.Parameter) else getattr(module, "weight", None)
    if scale is None:
        raise ValueError(
            f"Expected weights in what feeds a competition but found none in {layer!r} ({type(module).__name__})"
        )
    return scale


def _heads(model: nn.Module) -> tuple[str, ...]:
    """The beginnings of the names of the head's tensors, a decision layer's among them."""
    names = model.pretrained_cfg.get("classifier") or ()
    own = ("decision_features", "decision_units", "decision_votes")
    return tuple(f"{name}." for name in (*([names] if isinstance(names, str) else names), *own))


def _shape(tensors: dict[str, torch.Tensor], name: str) -> str:
    return str(tuple(tensors[name].shape)) if name in tensors else "nothing"
