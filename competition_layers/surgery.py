"""Where the activations of a model are, and putting competitions in their place.

A site is found statically: the modules are walked in the order of registration, and an activation's channel axis is
that of the last layer registered before it (a Linear feeds the last axis, a convolution or batch norm axis 1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from .layers import StochasticLWTA
from .names import match_names

# Not where units live: stems, heads, gates and squeeze-and-excite bottlenecks.
DEFAULT_EXCLUDE = (
    *("stem*", "*.stem*", "conv1*", "conv_stem*", "bn1*", "act1", "patch_embed*"),
    *("head*", "pre_logits*", "conv_head*", "bn2.*", "final_conv*"),
    *("*.se.*", "*.se_module.*", "*gate*"),
)
# Bounded functions are gates, not activations of units.
_GATES = {
    "Sigmoid",
    "Hardsigmoid",
    "HardSigmoid",
    "HardSigmoidMe",
    "Softmax",
    "LogSoftmax",
    "Softmax2d",
    "Softmin",
    "Tanh",
}
_HOMES = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")


@dataclass(frozen=True)
class Site:
    """The place of an activation: the module's dotted name and the axis of its units."""

    name: str
    channel_dim: int


def activation_sites(
    model: nn.Module, *, include: str | Sequence[str] = "*", exclude: str | Sequence[str] | None = None
) -> list[Site]:
    """The activations of `model` that could compete, in the order of registration.

    Args:
        include: globs on dotted names; a glob given here reaches what the default `exclude` leaves out.
        exclude: globs left out; unless `include` is given, those of `DEFAULT_EXCLUDE`.

    Raises:
        ValueError: nothing matches; the known activations are listed.
    """
    sites, axis = [], -1
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            axis = -1
        elif isinstance(module, nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm):
            axis = 1
        if isinstance(module, StochasticLWTA):
            sites.append(Site(name, module.channel_dim))
        elif type(module).__module__ in _HOMES and type(module).__name__ not in _GATES and not list(module.children()):
            sites.append(Site(name, axis))
    names = [site.name for site in sites]
    if not names:
        raise ValueError(f"Expected a model with activation modules but got {type(model).__name__}, which has none")
    if exclude is None:
        exclude = DEFAULT_EXCLUDE if include == "*" else ()
    kept = set(match_names(include, names, what="activation"))
    kept = {name for name in kept if not _matches(name, exclude)}
    if not kept:
        raise ValueError(
            f"Expected at least one activation outside {list(exclude)} but got none; "
            f"name them by include=..., known are: {', '.join(names[:12])}"
        )
    return [site for site in sites if site.name in kept]


def swap_activations(
    model: nn.Module, competitors: int, *, sites: Iterable[Site] | None = None, **options
) -> list[Site]:
    """Change `model` in place: every site becomes a `StochasticLWTA` of `competitors`; `options` go to the layer.

    `competitors=1` changes nothing (the dense twin). Returns the sites. `revert_activations` undoes it.
    """
    sites = list(activation_sites(model) if sites is None else sites)
    if competitors == 1:
        return sites
    for site in sites:
        old = model.get_submodule(site.name)
        layer = StochasticLWTA(competitors, channel_dim=site.channel_dim, **options)
        layer.name = site.name
        layer.replaced = (old,)  # in a tuple: kept for `revert_activations`, but no child module
        layer.train(old.training)
        _set(model, site.name, layer)
    return sites


def revert_activations(model: nn.Module) -> None:
    """Change `model` in place: where `swap_activations` put a competition, the old activation comes back."""
    for name, layer in competitions(model).items():
        if not getattr(layer, "replaced", None):
            raise ValueError(
                f"Expected layer {name!r} to remember the activation it replaced but it was not swapped in"
            )
        _set(model, name, layer.replaced[0])


def competitions(model: nn.Module) -> dict[str, StochasticLWTA]:
    """The competitions of `model` by dotted name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, StochasticLWTA)}


def _set(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _matches(name: str, patterns: str | Sequence[str]) -> bool:
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, pattern) for pattern in patterns)
