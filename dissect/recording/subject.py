"""What a network says of itself, whoever made it: its name, its classes, and the layer to look at."""

from torch import Tensor, nn

from competition_layers import activation_sites


def architecture(model: nn.Module) -> str:
    """The name of its architecture; of a network that lwta did not make, its class."""
    return getattr(getattr(model, "lwta", None), "architecture", type(model).__name__)


def label_names(model: nn.Module) -> tuple[str, ...]:
    """The names of its classes, of a network that lwta did not make from `model.label_names`; () without any."""
    return tuple(getattr(getattr(model, "lwta", None), "label_names", ()) or getattr(model, "label_names", ()))


def default_layer(model: nn.Module, inputs: Tensor | None = None) -> str:
    """The last place where units compete, or in a dense network the last where they could, found by one pass."""
    sites = getattr(getattr(model, "lwta", None), "sites", ()) or activation_sites(model, inputs=inputs)
    return sites[-1].name
