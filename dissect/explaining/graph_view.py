"""Why the units fired: the attribution graph of one picture, with names."""

from pathlib import Path

from PIL import Image
from torch import nn

from competition_layers import attribution_graph

from ..folder.dissection import Dissection
from ..recording.subject import label_names
from .explain_image import Target, classes_of
from .explanation import GraphView
from .picture import network_input
from .unit_effects import unit_name


def explain_graph(
    model: nn.Module,
    image: str | Path | Image.Image,
    *,
    dissection: Dissection | None = None,
    target: Target = None,
    units: int = 6,
) -> GraphView:
    """The attribution graph of a decision about `image`, with names; see `attribution_graph`.

    Args:
        dissection: gives names and exemplars to the units of the layers that it knows.
        target: a class, whose logit is explained; a pair, for the lead of the first over the second; by default the
            predicted class's lead over the runner-up.
        units: so many of each layer.

    Raises:
        ValueError: an unknown class, a file that is no readable image, a network with a bend that is not held.
    """
    graph = attribution_graph(model, network_input(model, image), classes_of(model, target), units=units)
    known = () if dissection is None else dissection.layers
    labels = label_names(model)
    named = {
        node.id: unit_name(model, dissection if node.layer in known else None, node.layer, node.unit)
        for node in graph.nodes
        if node.unit is not None
    }

    def label(number: int) -> str:
        return labels[number] if labels else f"class {number}"

    return GraphView(graph, label(graph.target), "" if graph.over is None else label(graph.over), named)
