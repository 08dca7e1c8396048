"""What a network says of itself, whoever made it: name, classes, transform, tokens, and the layer to look at."""

from torch import Tensor, nn

from competition_layers import StochasticLWTA, activation_sites, competitions
from competition_layers.transforms import plain_transform
from competition_layers.twins import TwinActivation
from competition_layers.wiring.trace import trace

from ..probe.passes import Transform


def architecture(model: nn.Module) -> str:
    """The name of its architecture, of a twin with its activation; of a network that lwta did not make, its class."""
    name = getattr(getattr(model, "lwta", None), "architecture", type(model).__name__)
    instead = {each.competition.activation for each in model.modules() if isinstance(each, TwinActivation)}
    return f"{name} ({', '.join(sorted(instead))})" if instead else name


def label_names(model: nn.Module) -> tuple[str, ...]:
    """The names of its classes, of a network that lwta did not make from `model.label_names`; () without any."""
    return tuple(getattr(getattr(model, "lwta", None), "label_names", ()) or getattr(model, "label_names", ()))


def given_name(model: nn.Module, layer: str, unit: int) -> str:
    """The name that a person gave a unit (`lwta edit`), or nothing."""
    names = getattr(getattr(model, "lwta", None), "unit_names", {})
    return names.get(layer, {}).get(str(unit), "")


def default_transform(model: nn.Module) -> Transform:
    """The transform of a picture by which the model is evaluated, see `plain_transform`."""
    return plain_transform(model)


def class_tokens(model: nn.Module) -> int:
    """How many tokens stand before those of the picture (timm's `num_prefix_tokens`); 0 without a class token.

    A class token is timm's `cls_token` or torchvision's `class_token`.
    """
    if not any(isinstance(getattr(model, name, None), Tensor) for name in ("cls_token", "class_token")):
        return 0
    return int(getattr(model, "num_prefix_tokens", 1))


def reads_class_token(model: nn.Module) -> bool:
    """Whether the network has a class token and reads its answer from it."""
    return class_tokens(model) > 0 and getattr(model, "global_pool", "token") == "token"


def winners_rule(model: nn.Module) -> str:
    """How its winners are picked, in words."""
    rules = sorted({each.competition.inference for each in competitions(model).values()})
    return " and ".join(rules) or "nothing competes"


def competitors_of(module: nn.Module) -> int:
    """How many units of a group compete at `module`; 1: nothing does."""
    return module.groups.competitors if isinstance(module, StochasticLWTA) else 1


def default_layer(model: nn.Module, inputs: Tensor | None = None) -> str:
    """The last place where units compete, or in a dense network the last where they could, found by one pass.

    An activation that runs several times in a pass has no output of its own: the module around it that returns the
    output of the last of these calls stands for it (torchvision's `layer4.1` for its `relu`).

    Raises:
        ValueError: no layer can be told; name one.
    """
    known = {name for name, _ in model.named_modules()}
    sites = getattr(getattr(model, "lwta", None), "sites", ()) or activation_sites(model, inputs=inputs)
    for site in reversed(sites):
        if site.name in known:
            return site.name
        if inputs is not None and (around := _returning(model, site.name.rpartition(".")[0], inputs)):
            return around
    raise ValueError(f"Expected a layer, since none of {type(model).__name__} can be told: name one of its modules")


def _returning(model: nn.Module, activation: str, inputs: Tensor) -> str | None:
    """The innermost module around `activation` whose output is that of its last call; None without one."""
    parts, calls = activation.split("."), trace(model, inputs[:1]).calls
    around = [".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]
    last = calls[activation][-1].gives
    return next((name for name in around if name in calls and calls[name][-1].gives == last), None)
