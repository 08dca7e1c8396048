"""Which axis of a layer's output holds its units."""

from torch import Tensor, nn

from ..layers import StochasticLWTA

_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


def channel_axis(model: nn.Module, layer: str, output: Tensor) -> int:
    """The axis of the units in `output`, counted from 0. In this order:

    1. a `StochasticLWTA` knows it, and so does a site that `model.lwta` lists (the dense twin has the same sites);
    2. two axes, (images, units): the last;
    3. four axes of a layer with layers inside: a square map tells by itself, (images, units, s, s) or (images, s, s,
       units);
    4. otherwise the last layer registered at or before it: axis 1 after a convolution, batch or group norm, the last
       after a Linear or layer norm.
    """
    module = model.get_submodule(layer)
    if isinstance(module, StochasticLWTA):
        return module.groups.channel_dim % output.ndim
    for site in getattr(getattr(model, "lwta", None), "sites", ()):
        if site.name == layer:
            return site.channel_dim % output.ndim
    if output.ndim == 2:
        return 1
    if output.ndim == 4 and next(module.children(), None) is not None:
        first, last = output.shape[2] == output.shape[3], output.shape[1] == output.shape[2]
        if first != last:
            return 1 if first else 3
    return _registered_axis(model, layer) % output.ndim


def _registered_axis(model: nn.Module, layer: str) -> int:
    axis, reached = -1, False
    for name, module in model.named_modules():
        inside = name == layer or name.startswith(layer + ".")
        if reached and not inside:
            break
        reached = reached or inside
        if isinstance(module, _FIRST) or type(module).__name__.startswith("LayerNorm2d"):  # timm's, channels first
            axis = 1
        elif isinstance(module, _LAST):
            axis = -1
    return axis
