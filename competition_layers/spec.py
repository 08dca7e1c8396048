"""What a model remembers of itself, beside its weights: how to build it again, its labels, where its units compete."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from .decision import DecisionLayer
from .layers import StochasticLWTA
from .origins import is_function
from .twins import TwinActivation
from .wiring.sites import Site

OURS = "lwta/"  # of `architecture`: plain timm then refuses the file instead of building the dense network


@dataclass(frozen=True)
class ModelSpec:
    """What it takes to build a model again, beside its weights and its competitions. Stands at `model.lwta`."""

    architecture: str
    num_classes: int
    model_args: Mapping[str, Any] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    pretrained_cfg: Mapping[str, Any] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)  # why other activations do not compete
    decision: DecisionLayer | None = None  # then the last of `sites` is its competition
    unit_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # that a person gave: layer, unit, name


def spec_of(model: nn.Module) -> ModelSpec:
    """The `ModelSpec` that `create_model` and `load_model` leave at `model.lwta`."""
    spec = getattr(model, "lwta", None)
    if not isinstance(spec, ModelSpec):
        raise TypeError(
            f"Expected a model made by lwta's create_model or load_model but got {type(model).__name__}; "
            "keep its state_dict() instead, and swap its activations again"
        )
    return spec


def with_labels(model: nn.Module, label_names: Sequence[str]) -> nn.Module:
    """Change `model` in place: these are the names of its classes."""
    if len(label_names) != model.lwta.num_classes:
        raise ValueError(f"Expected {model.lwta.num_classes} label names but got {len(label_names)}")
    model.lwta = replace(model.lwta, label_names=tuple(label_names))
    return model


def site_config(model: nn.Module, site: Site) -> dict[str, Any]:
    """One site's entry in config.json: the numbers of its competition or of its twin, or `competitors: 1`."""
    layer = model.get_submodule(site.name)
    if not isinstance(layer, StochasticLWTA | TwinActivation):
        return {**asdict(site), "competitors": 1}
    return {**asdict(site), "competitors": layer.groups.competitors, **asdict(layer.competition)}


def model_card(spec: ModelSpec, config: Mapping[str, Any]) -> str:
    """README.md of a model folder, for people and for a hub."""
    sites = config["competition"]["sites"]
    counts = sorted({entry["competitors"] for entry in sites})
    word = f"{spec.architecture}=" if is_function(spec.architecture) else ""
    return (
        "---\nlibrary_name: lwta\ntags: [image-classification, lwta, sparse]\n---\n"
        f"# {spec.architecture}, {'dense' if counts in ([], [1]) else f'{counts} competitors'}\n\n"
        f"{spec.num_classes} classes; {len(sites)} activation sites. Load it with "
        f'`competition_layers.load_model("{word}FOLDER")`; plain timm refuses it, because its activations compete.\n'
    )
