"""What counts as an activation, as a module or as a function, and what is bounded, which opens gates."""

from torch import nn

from ..layers import StochasticLWTA
from ..twins import TwinActivation

# modules and functions that are bounded are gates, not activations of units
BOUNDED = {"Sigmoid", "LogSigmoid", "Hardsigmoid", "HardSigmoid", "HardSigmoidMe", "Tanh", "Hardtanh", "Softsign"}
BOUNDED |= {"Softmax", "Softmax2d", "Softmin", "LogSoftmax", "GLU"}
GATES = {"sigmoid", "sigmoid_", "hardsigmoid", "tanh", "tanh_", "softmax", "log_softmax"}
_UNBOUNDED = ("relu", "relu6", "gelu", "silu", "mish", "hardswish", "elu", "selu", "celu", "leaky_relu", "softplus")
FUNCTIONS = {"prelu", "rrelu", *_UNBOUNDED, *(f"{name}_" for name in _UNBOUNDED)}

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_HOMES = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation of torch, timm or ours, or one with a scale and a bias around it."""
    if isinstance(module, StochasticLWTA | TwinActivation):
        return True
    children = list(module.children())
    if type(module).__module__ in _HOMES:
        return not children
    # timm's StarReLU
    numbers = all(p.numel() == 1 for p in module.parameters(recurse=False))
    return len(children) == 1 and numbers and not isinstance(module, CONTAINERS) and is_activation(children[0])
