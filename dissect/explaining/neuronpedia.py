"""An attribution graph in Neuronpedia's schema, which its viewer and circuit-tracer's open."""

from itertools import accumulate
from typing import Any

from competition_layers.graphs.graph import GraphNode

from .explanation import GraphView

# the viewers know these words; ours are in `clerp`
TYPES = {
    "target": "logit",
    "unit": "cross layer transcoder",
    "other units": "mlp reconstruction error",  # drawn as a diamond that is not followed; nothing of it is an error
    "patch": "embedding",
    "other patches": "embedding",
    "bias": "embedding",
}
HELD = (
    "Direct effects with winners, norm scales and attention patterns as they fell: sums are exact. Units are summed "
    "over their places; attention is held and not explained."
)


def neuronpedia_graph(view: GraphView, *, slug: str, scan: str) -> dict[str, Any]:
    """The graph as that schema's JSON: patches stand for the tokens of a prompt.

    Args:
        slug: a name for the graph. scan: of the network.
    """
    graph = view.graph
    rows, columns = graph.grid
    tokens = [f"patch {row + 1},{column + 1}" for row in range(rows) for column in range(columns)]
    tokens += ["other patches", "biases", "all places"]
    layers = {layer: i for i, layer in enumerate(graph.layers)}
    ranked = sorted(graph.nodes, key=lambda node: -abs(node.influence) if node.kind != "target" else -float("inf"))
    sizes = [0.0 if node.kind == "target" else abs(node.influence) for node in ranked]
    total = sum(sizes) or 1.0
    # the viewers prune by it: the share of all influence that this node and the stronger ones have
    reached = {node.id: part / total for node, part in zip(ranked, accumulate(sizes), strict=True)}
    nodes = []
    for node in graph.nodes:
        place = _place(node, tokens)
        layer = "E" if TYPES[node.kind] == "embedding" else str(layers.get(node.layer, len(layers)))
        nodes.append(
            {
                "node_id": node.id,
                "feature": node.unit,
                "layer": layer,
                "ctx_idx": place,
                "feature_type": TYPES[node.kind],
                "jsNodeId": f"{node.id}-{place}",
                "clerp": " of ".join(part for part in (view.label(node), node.layer) if part),
                "influence": reached[node.id],
                "activation": node.value,
            }
        )
    return {
        "metadata": {
            "slug": slug,
            "scan": scan,
            "prompt_tokens": tokens,
            "prompt": " ".join(tokens),
            "info": {"description": HELD, "generator": {"name": "lwta"}},
        },
        "qParams": {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "target", "sg_pos": ""},
        "nodes": nodes,
        "links": [{"source": edge.source, "target": edge.target, "weight": edge.effect} for edge in graph.edges],
    }


def _place(node: GraphNode, tokens: list[str]) -> int:
    if node.kind == "patch" and node.position is not None:
        return node.position
    return len(tokens) - {"other patches": 3, "bias": 2}.get(node.kind, 1)
