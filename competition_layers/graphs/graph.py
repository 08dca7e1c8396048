"""An attribution graph as frozen values: nodes, edges, and what share of the influence they keep."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["target", "unit", "other units", "patch", "other patches", "bias"]


@dataclass(frozen=True)
class GraphNode:
    """Winners, a patch of the picture, the biases, or the target.

    `value` is, of a unit, its pre-activation, summed over the `places` where it won and from which the target can be
    reached; of the target its logit, or the difference of two. `influence` is what the node adds to the target by all
    paths, everything held; `unheld` what the target loses when the unit is switched off, or
    the patch has the mean colour, and the network runs as ever.
    """

    id: str
    kind: Kind
    layer: str = ""
    unit: int | None = None
    position: int | None = None  # None: summed over positions
    places: int = 0
    value: float = 0.0
    influence: float = 0.0
    unheld: float | None = None


@dataclass(frozen=True)
class GraphEdge:
    """What `source` adds to the value of `target` by paths that pass no other layer.

    `unheld` is what the target's value loses, at the same places, when the source is switched off and nothing is held:
    later winners, norms and attention change, and it arrives by other layers too.
    """

    source: str
    target: str
    effect: float
    unheld: float | None = None


@dataclass(frozen=True)
class AttributionGraph:
    """Why the target has its value. The effects of a node's incoming edges sum to its value, up to `gap`.

    What is held: winners, norm scales, attention patterns, the masks of other ReLUs (of smooth activations the ratio
    act(x)/x). So it does not say why attention looked where it did. A patch counts as its difference from a patch of
    the mean colour.
    """

    target: int
    over: int | None  # the class whose logit is subtracted
    nodes: tuple[GraphNode, ...]  # the target first, then layers from the last to the first, patches, biases
    edges: tuple[GraphEdge, ...]
    kept: Mapping[str, float]  # of each layer, and of the picture: the shown nodes' share of the absolute influence
    grid: tuple[int, int]  # rows and columns of patches
    gap: float  # the largest difference between a value and its sum, as a share of the sum of absolute effects

    def __getitem__(self, id: str) -> GraphNode:
        return next(node for node in self.nodes if node.id == id)

    def into(self, id: str) -> tuple[GraphEdge, ...]:
        """The edges into a node, the largest absolute effect first."""
        return tuple(sorted((e for e in self.edges if e.target == id), key=lambda e: -abs(e.effect)))

    def pruned(self, share: float) -> "AttributionGraph":
        """Only the largest edges into each node that make `share` of its absolute effects; what is left no longer
        sums to its value."""
        edges: list[GraphEdge] = []
        for node in self.nodes:
            total, kept = sum(abs(e.effect) for e in self.into(node.id)), 0.0
            for edge in self.into(node.id):
                if kept >= share * total:
                    break
                edges.append(edge)
                kept += abs(edge.effect)
        return replace(self, edges=tuple(edges))

    @property
    def layers(self) -> tuple[str, ...]:
        """Those with nodes, the first first."""
        return tuple(dict.fromkeys(node.layer for node in reversed(self.nodes) if node.kind == "unit"))
