"""Putting competitions in the place of activations, and taking them out again."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from fnmatch import fnmatchcase
from math import gcd

from torch import Tensor, nn

from .competition import Competition
from .groups import divisors
from .heads import CLASSIFIER, put_classifier_back
from .layers import StochasticLWTA
from .names import match_names
from .twins import TwinActivation
from .wiring.per_call import PerCallActivation
from .wiring.sites import Site, survey


def activation_sites(
    model: nn.Module,
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    inputs: Tensor | None = None,
) -> list[Site]:
    """The activations of `model` that compete, in the order in which they run; found by one pass of a blank input.

    By default the wide activations inside blocks: no stem, head or gate, and nothing that only opens a gate
    (squeeze-and-excite). `print(survey(model))` shows all of them, and why some do not compete.

    Args:
        include: globs on dotted names, which reach every activation that can compete.
        exclude: globs left out.
        inputs: of that pass; by default blank, see `trace`.

    Raises:
        ValueError: nothing matches, or what is asked for by name cannot compete; says why.
    """
    return survey(model, inputs=inputs).sites(include=include, exclude=exclude)


def swap_activations(
    model: nn.Module,
    competitors: int | Mapping[str, int],
    *,
    sites: Iterable[Site] | None = None,
    competition: Competition = Competition(),
) -> list[Site]:
    """Change `model` in place: every site becomes a `StochasticLWTA` that competes as `competition` says.

    For a twin (`competition.activation`) its `TwinActivation` stands there. Returns the sites. `revert_activations`
    undoes it.

    Args:
        competitors: U, or a mapping of globs to U of which the first that fits counts; 1 keeps the activation.

    Raises:
        ValueError: a width that its U does not divide, a glob without a site, a site without a glob; by name.
    """
    sites = list(activation_sites(model) if sites is None else sites)
    numbers = _numbers(competitors, sites)
    held = Counter(child for parent in model.modules() for child in parent._modules.values())
    for site in sites:
        base = site.name.rpartition(".")[0]
        if site.calls > 1 and not isinstance(model.get_submodule(base), PerCallActivation):
            model.set_submodule(base, PerCallActivation(model.get_submodule(base), site.calls, root=model))
        old = model.get_submodule(site.name)
        if numbers[site.name] > 1:
            kind = StochasticLWTA if competition.activation == "competition" else TwinActivation
            layer = kind(numbers[site.name], channel_dim=site.channel_dim, competition=competition)
            layer.name = site.name
            layer.replaced = (old,)  # in a tuple: kept for `revert_activations`, but no child module
            layer.train(old.training)
            model.set_submodule(site.name, layer)
        elif held[old] > 1:
            model.set_submodule(site.name, deepcopy(old))  # one module in several places could not be watched in each
    return sites


def revert_activations(model: nn.Module) -> None:
    """Change `model` in place: where `swap_activations` put a competition, the old activation comes back.

    Where `add_decision` put a decision layer, the old classifier comes back.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, StochasticLWTA | TwinActivation)}
    for name, layer in layers.items():
        if not getattr(layer, "replaced", None):
            raise ValueError(
                f"Expected layer {name!r} to remember the activation it replaced but it was not swapped in"
            )
    for name in layers:
        _put_back(model, name)
    for name in [name for name, module in model.named_modules() if isinstance(module, PerCallActivation)]:
        model.get_submodule(name).restarting.remove()
        _put_back(model, name)
    if CLASSIFIER in vars(model):
        put_classifier_back(model)


def _put_back(model: nn.Module, name: str) -> None:
    """What stood at `name`, in the mode and on the device that the network has come to since."""
    now, weight = model.get_submodule(name), next(model.parameters(), None)
    old = now.replaced[0].train(now.training)
    model.set_submodule(name, old if weight is None else old.to(weight.device))


def _numbers(competitors: int | Mapping[str, int], sites: Sequence[Site]) -> dict[str, int]:
    """U of every site by name, checked against its width where that is known."""
    names = [site.name for site in sites]
    globs = {"*": competitors} if isinstance(competitors, int) else dict(competitors)
    match_names(list(globs), names, what="activation")
    fitting = {name: [u for glob, u in globs.items() if fnmatchcase(name, glob)] for name in names}
    left = [name for name, found in fitting.items() if not found]
    if left:
        raise ValueError(
            f"Expected competitors for {left[0]!r} ({len(left)} such) but no glob of {list(globs)} fits; add '*': U"
        )
    numbers = {name: found[0] for name, found in fitting.items()}
    if min(numbers.values(), default=1) < 1:
        raise ValueError(f"Expected competitors of at least 1 (which keeps the activation) but got {competitors}")
    wrong = [site for site in sites if site.width and site.width % numbers[site.name]]
    if wrong:
        one, common = wrong[0], gcd(*(site.width or 0 for site in sites))
        raise ValueError(
            f"Expected the width of layer {one.name!r} to be a multiple of competitors={numbers[one.name]} but got "
            f"{one.width} (so in {len(wrong)} of {len(sites)} layers); numbers that would do there: "
            f"{', '.join(map(str, divisors(one.width or 0)))}; in all: "
            f"{', '.join(map(str, divisors(common))) or 'none'}; "
            "a mapping of globs gives each its own, and 1 leaves it dense"
        )
    return numbers
