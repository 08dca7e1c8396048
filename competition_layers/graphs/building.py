"""`attribution_graph`: which winners, patches and biases a decision is made of, and each of these in its turn.

With winners, norm scales and attention patterns as they fell a network is affine between its competitions. A winner's
pre-activation h is then the sum of its sources' direct effects y dh/dy and of the biases', exactly: no replacement
model and no error node. The construction follows circuit-tracer's graphs, which stand on transcoders.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attribution import Ends, check_layer, explained_classes
from ..inference import fixed_noise
from ..layers import competitions
from ..modes import evaluating
from ..wiring.axes import channel_axes
from .graph import AttributionGraph, GraphEdge, GraphNode
from .held_pass import PICTURE, HeldPass, held_again, held_pass
from .nodes import Chosen, Scheme
from .switching import TARGET, unheld_effects

PATCHES = 8  # shown by themselves
GRID = (8, 8)  # patches of networks that have none of their own
GAPS = {torch.float32: 1e-4, torch.float64: 1e-9}  # rounding stays far below, a bend lies far above
BIAS, OTHER_PATCHES = "bias", "other patches"


def attribution_graph(
    model: nn.Module,
    image: Float[Tensor, "images channels height width"],
    target: Ends = None,
    *,
    layers: Sequence[str] | None = None,
    units: int = 6,
    positions: bool = False,
) -> AttributionGraph:
    """The graph of direct effects that ends in a decision about one image.

    Of each layer the `units` with the largest influence on the target are shown; the layer's others stand together in
    one node, so that the edges into every shown node sum to its value.

    Args:
        image: as the network takes it.
        target: a class, for its logit; a pair, for the logit of the first less that of the second; by default the
            predicted class's lead over the runner-up.
        layers: whose units are nodes; by default every competition, and in a network without any its sites.
        positions: a node is a unit at one position; by default it is summed over those where it won.

    Raises:
        ValueError: several images, an unknown layer or class, or a network with a bend that is not held (with the gap).
    """
    if len(image) != 1:
        raise ValueError(f"Expected one image (1, channels, height, width) but got {tuple(image.shape)}")
    if units < 1:
        raise ValueError(f"Expected units >= 1 but got {units}")
    layers = _layers(model, layers)
    with evaluating(model), fixed_noise(model):
        scheme = Scheme(channel_axes(model, layers, image), positions, _grid(model))
        found = held_pass(model, image, layers)
        classes = _classes(found.logits.detach(), target)
        ends_in = _ends_in(*classes)
        whole = held_pass(model, image, layers, cut=False)
        by_all_paths = whole.effects(ends_in(whole.logits).sum())
        shown = _shown(found, scheme, by_all_paths, units)
        values = {TARGET: ends_in(found.logits).sum()}
        for chosen in shown.chosen:
            before = scheme.flat(chosen.node.layer, found.before[chosen.node.layer])
            values[chosen.node.id] = chosen.sum_of(before).sum()
        edges = _edges(found, scheme, shown, values, _constants(model, found, scheme, shown, ends_in))
        gap = _gap(edges, values)
        if gap > GAPS.get(image.dtype, 1e-2):
            raise ValueError(
                f"Expected {type(model).__name__} to be linear between these layers once norm scales, attention "
                f"patterns and gates are held but sums miss their values by {gap:.1%}: something else bends, as the "
                "product of two branches does; `contributions` gives first-order estimates"
            )
        lost = unheld_effects(model, image, shown.chosen, shown.patches, scheme, ends_in)
    nodes = [
        GraphNode(TARGET, "target", value=values[TARGET].item(), influence=values[TARGET].item()),
        *(replace(c.node, value=values[c.node.id].item()) for c in shown.chosen),
        *_rest(scheme, by_all_paths, shown, values[TARGET].item()),
    ]
    nodes = [replace(node, unheld=lost.get((node.id, TARGET))) for node in nodes]
    edges = [replace(edge, unheld=lost.get((edge.source, edge.target))) for edge in edges]
    return AttributionGraph(*classes, tuple(nodes), tuple(edges), _kept(scheme, by_all_paths, shown), scheme.grid, gap)


@dataclass(frozen=True)
class _Shown:
    """What gets a node of its own: units by layer, the last layer first, and patches."""

    units: Mapping[str, list[Chosen]]
    patches: list[int]

    @property
    def chosen(self) -> list[Chosen]:
        return [chosen for found in self.units.values() for chosen in found]


def _layers(model: nn.Module, layers: Sequence[str] | None) -> list[str]:
    sites = [site.name for site in getattr(getattr(model, "lwta", None), "sites", ())]
    chosen = list(competitions(model) or sites) if layers is None else list(layers)
    if not chosen:
        raise ValueError(f"Expected layers whose units are nodes, since nothing competes in {type(model).__name__}")
    for layer in chosen:
        check_layer(model, layer)
    return chosen


def _grid(model: nn.Module) -> tuple[int, int]:
    """Rows and columns of patches: a transformer's own."""
    rows, columns = getattr(getattr(model, "patch_embed", None), "grid_size", None) or GRID
    return int(rows), int(columns)


def _classes(logits: Tensor, target: Ends) -> tuple[int, int | None]:
    """The class whose logit it is, and the one whose logit is subtracted."""
    first, second = (int(label) for label in explained_classes(logits, target))
    return first, None if isinstance(target, int) else second


def _ends_in(target: int, over: int | None) -> Callable[[Tensor], Tensor]:
    def value(logits: Float[Tensor, "images classes"]) -> Float[Tensor, "images"]:
        reached = logits[:, target].double()
        return reached if over is None else reached - logits[:, over].double()

    return value


def _shown(found: HeldPass, scheme: Scheme, by_all_paths: Mapping[str, Tensor], units: int) -> _Shown:
    layers = [layer for layer in reversed(list(found.before)) if layer in by_all_paths]
    patches = scheme.pooled(PICTURE, by_all_paths[PICTURE]).abs()
    return _Shown(
        {layer: scheme.strongest(found, layer, by_all_paths[layer], units) for layer in layers},
        patches.topk(min(PATCHES, len(patches))).indices.tolist(),
    )


def _constants(
    model: nn.Module, found: HeldPass, scheme: Scheme, shown: _Shown, ends_in: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """What every value is when all sources are 0: biases, class token, embedded positions. By a pass of its own."""
    left = held_again(model, found, {name: torch.zeros_like(source) for name, source in found.sources.items()})
    constants = {TARGET: ends_in(left[""]).item()}
    for chosen in shown.chosen:
        constants[chosen.node.id] = chosen.sum_of(scheme.flat(chosen.node.layer, left[chosen.node.layer])).item()
    return constants


def _edges(
    found: HeldPass, scheme: Scheme, shown: _Shown, values: Mapping[str, Tensor], constants: Mapping[str, float]
) -> list[GraphEdge]:
    """Every edge into the nodes of `values`: a backward pass for each."""
    edges = []
    for id, value in values.items():
        for source, effect in found.effects(value).items():
            each = scheme.pooled(source, effect)
            if source == PICTURE:
                alone, rest = [(scheme.patch(i), each[i].item()) for i in shown.patches], OTHER_PATCHES
            else:
                alone = [(c.node.id, each[c.index].item()) for c in shown.units.get(source, [])]
                rest = _others(source)
            left = each.sum().item() - sum(added for _, added in alone)
            edges += [GraphEdge(name, id, added) for name, added in [*alone, (rest, left)] if added]
        edges.append(GraphEdge(BIAS, id, constants[id]))
    return edges


def _gap(edges: Sequence[GraphEdge], values: Mapping[str, Tensor]) -> float:
    gaps = []
    for id, value in values.items():
        effects = [edge.effect for edge in edges if edge.target == id]
        gaps.append(abs(value.item() - sum(effects)) / (sum(map(abs, effects)) or 1.0))
    return max(gaps)


def _rest(scheme: Scheme, by_all_paths: Mapping[str, Tensor], shown: _Shown, total: float) -> Iterator[GraphNode]:
    """The nodes that are not expanded: each layer's other units, patches, biases."""
    for layer, found in shown.units.items():
        left = by_all_paths[layer].double().sum().item() - sum(c.node.influence for c in found)
        yield GraphNode(_others(layer), "other units", layer, influence=left)
    each = scheme.pooled(PICTURE, by_all_paths[PICTURE])
    for i in shown.patches:
        yield GraphNode(scheme.patch(i), "patch", position=i, influence=each[i].item())
    picture = each.sum().item()
    yield GraphNode(OTHER_PATCHES, "other patches", influence=picture - each[shown.patches].sum().item())
    yield GraphNode(BIAS, "bias", influence=total - picture)  # by all paths


def _kept(scheme: Scheme, by_all_paths: Mapping[str, Tensor], shown: _Shown) -> dict[str, float]:
    entries = {layer: [c.index for c in found] for layer, found in shown.units.items()} | {PICTURE: shown.patches}
    sizes = {name: scheme.pooled(name, by_all_paths[name]).abs() for name in entries}
    tiny = torch.finfo(torch.float64).tiny  # a layer without any influence
    return {
        name: (sizes[name][kept].sum() / sizes[name].sum().clamp_min(tiny)).item() for name, kept in entries.items()
    }


def _others(layer: str) -> str:
    return f"{layer}/others"
