"""What activations a network has, and of each whether it competes by default, on request, or not at all, and why."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import Tensor, nn

from ..names import match_names
from .activations import BOUNDED, CONTAINERS, FUNCTIONS, is_activation
from .feeding import fed_by, opens_gate
from .graph import Graph, Value
from .per_call import PerCallActivation
from .trace import trace

# names of what stands before, after and beside the blocks; a glob in `include` reaches it all the same
APART = {
    "in the stem": ("*stem*", "patch_embed*"),
    "in the head": ("head*", "pre_logits*", "final_conv*", "classifier*"),
    "a gate by its name": ("*gate*",),
    "inside attention": ("*.kernel_func*",),
}
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class Site:
    """The place of an activation: the module's dotted name, the axis of its units and their number.

    An activation that runs several times in a pass is a site for each of its `calls`: NAME.0, NAME.1, ...
    """

    name: str
    channel_dim: int
    width: int | None = None
    calls: int = 1


@dataclass(frozen=True)
class Activation:
    """One activation of a network: its site, or None where it cannot compete; `reason`: why it does not by default."""

    name: str
    kind: str
    site: Site | None
    fed_by: tuple[str, ...] = ()  # the layers whose weights it reads: several where branches are summed
    reason: str = ""


@dataclass(frozen=True)
class Survey:
    """Every activation of a network, in the order in which they run. Printed, a line each."""

    activations: tuple[Activation, ...]

    def sites(self, *, include: str | Sequence[str] | None = None, exclude: str | Sequence[str] = ()) -> list[Site]:
        """The places that compete, see `activation_sites`."""
        able = {a.name: a for a in self.activations if a.site}
        if not able:
            told = in_words(self.left_out()) or "it has no activation"
            raise ValueError(f"Expected a model with an activation that can compete but found none: {told}")
        if include is None:
            kept = [name for name, a in able.items() if not a.reason]
        else:
            wanted = [include] if isinstance(include, str) else include
            for a in self.activations:
                if a.name in wanted and not a.site:
                    raise ValueError(f"Expected an activation that can compete but got {a.name!r}: {a.reason}")
            kept = match_names(include, list(able), what="activation")
        patterns = [exclude] if isinstance(exclude, str) else exclude
        sites = [able[n].site for n in kept if not any(fnmatchcase(n, pattern) for pattern in patterns)]
        if not sites:
            raise ValueError(
                f"Expected at least one activation outside {list(patterns)} but got none; "
                f"name them by include=..., known are: {', '.join(list(able)[:12])}"
            )
        return [site for site in sites if site]

    def left_out(self, sites: Sequence[Site] = ()) -> dict[str, str]:
        """Why each activation that is not among `sites` does not compete, by name."""
        chosen = {site.name for site in sites}
        return {a.name: a.reason or "not asked for" for a in self.activations if a.name not in chosen}

    def __str__(self) -> str:
        lines = []
        for a in self.activations:
            units = a.site and f"axis {a.site.channel_dim}, {a.site.width} units, fed by {_shortly(a.fed_by)}"
            place = units or "cannot compete"
            lines.append(f"{a.name}  {a.kind}  {place}" + (f"; {a.reason}" if a.reason else ""))
        return "\n".join(lines)


def _shortly(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return (" + ".join(names[:2]) or "no layer") + more


def survey(model: nn.Module, *, inputs: Tensor | None = None) -> Survey:
    """Find the activations of `model` by one pass of `inputs`, by default a blank one, see `trace`.

    >>> print(survey(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Sigmoid())))
    1  ReLU  axis -1, 8 units, fed by 0
    3  Sigmoid  cannot compete; bounded: a gate
    """
    graph = trace(model, inputs)
    places = _places(model)
    loose = [node for node in graph.nodes if node.function in FUNCTIONS and not any(map(node.inside, places))]
    # a module of one's own that calls a function, and has neither weights nor parts, is an activation too
    written = {node.module for node in loose if node.module and _is_bare(model.get_submodule(node.module))}
    places |= dict.fromkeys(written)
    ran = [name for name in graph.calls if name in places]
    given = {value for name in ran for call in graph.calls[name] for value in call.gives}
    found = [
        a for name in (*ran, *(name for name in places if name not in ran)) for a in _judged(model, name, graph, given)
    ]
    for name, function in dict.fromkeys((node.module, node.function) for node in loose if node.module not in written):
        where = repr(name) if name else "the model"
        reason = f"the function {function}, called in {where} itself: make it a module"
        found.append(Activation(name, f"F.{function}", None, reason=reason))
    inside = {a.name for a in found if a.site and _in_block(model, a.name)}
    if any(a.name in inside and not a.reason for a in found):
        found = [a if a.reason or a.name in inside else replace(a, reason="not inside a block") for a in found]
    return Survey(tuple(found))


def in_words(left_out: Mapping[str, str]) -> str:
    """What does not compete and why, in a line; places that differ in numbers alone are told together.

    >>> in_words({"stem.act": "in the stem", "blocks.0.se.act": "opens a gate", "blocks.1.se.act": "opens a gate"})
    'stem.act (in the stem), 2 blocks.*.se.act (opens a gate)'
    """
    alike = Counter((".".join("*" if p.isdigit() else p for p in n.split(".")), why) for n, why in left_out.items())
    return ", ".join(f"{f'{n} ' if n > 1 else ''}{name} ({why})" for (name, why), n in alike.items())


def _places(model: nn.Module) -> dict[str, None]:
    """Where activations are registered, by dotted name; one module in two places is two."""
    parents = ((name, parent) for name, parent in model.named_modules() if not is_activation(parent))
    children = ((f"{name}.{child}", module) for name, parent in parents for child, module in parent._modules.items())
    return {place.lstrip("."): None for place, module in children if module is not None and is_activation(module)}


def _is_bare(module: nn.Module) -> bool:
    return not list(module.children()) and not list(module.parameters())


def _judged(model: nn.Module, name: str, graph: Graph, given: Collection[Value]) -> Iterator[Activation]:
    """The activation of one place: one, or one for each of its calls. `given`: what activations give."""
    module, parent = model.get_submodule(name), model.get_submodule(name.rpartition(".")[0])
    calls = graph.calls.get(name, [])
    kind, reason = type(module).__name__, ""
    if kind in BOUNDED:
        reason = "bounded: a gate"
    elif not calls:
        reason = "does not run in evaluation"
    elif isinstance(parent, nn.TransformerEncoderLayer):
        reason = "nn.TransformerEncoderLayer passes its module by in evaluation"
    elif len(calls) > 1 and any(True for _ in module.parameters()):
        reason = f"{len(calls)} calls share its weights"
    if reason:
        yield Activation(name, kind, None, reason=reason)
        return
    for i, call in enumerate(calls):
        own = name if len(calls) == 1 else f"{name}.{i}"
        h = call.reads[0]
        feeds = fed_by(h, given)
        if h.axis is None or h.channel_dim is None or not h.of_input:
            reason = "its channel axis cannot be told" if h.of_input else "does not depend on the input"
            yield Activation(own, kind, None, feeds, reason)
        else:
            times = len(parent) if isinstance(parent, PerCallActivation) else len(calls)
            site = Site(own, h.channel_dim, h.shape[h.axis], times)
            reason = "opens a gate" if any(map(opens_gate, call.gives)) else _apart(own)
            yield Activation(own, kind, site, feeds, reason)


def _apart(name: str) -> str:
    return next((why for why, globs in APART.items() if any(fnmatchcase(name, glob) for glob in globs)), "")


def _in_block(model: nn.Module, name: str) -> bool:
    """Whether a module around it, no mere container and not the whole model, holds two layers with weights."""
    parts = name.split(".")
    for n in range(1, len(parts)):
        around = model.get_submodule(".".join(parts[:n]))
        if not isinstance(around, CONTAINERS) and sum(isinstance(m, _LAYERS) for m in around.modules()) > 1:
            return True
    return False
