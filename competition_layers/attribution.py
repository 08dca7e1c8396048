"""What each unit of a layer added to a decision: exact where the path to the logit is linear, elsewhere to first order.

Whether the path is linear is measured: the gradient of the logit gives the contributions, and the network, run again
with units off, must lose just as much.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .inference import fixed_noise, logits_of
from .layers import StochasticLWTA
from .linearised import frozen_norm_scale, winner_gradients, winners_of
from .names import nearest
from .observing import observe
from .wiring.axes import channel_axes, channel_axis

Method = Literal["direct", "direct, layer-norm scale frozen", "gradient x activation"]
Ends = int | tuple[int, int] | None  # the class that is explained; one over another; the predicted one
METHODS: dict[Method, str] = {
    "direct": "From this layer on the network is linear (checked by running it again with units off): "
    "each contribution is exact.",
    "direct, layer-norm scale frozen": "From this layer on the network is linear once later layer norms keep the "
    "scale they have for this image (checked): the contributions add up to the logit. What switching off a unit does "
    "to that scale shows in its check alone.",
    "gradient x activation": "The network is not linear after this layer: contributions are first-order estimates, to "
    "be trusted as far as the check beside them goes.",
}
TOLERANCE = 1e-4  # of the sum of absolute contributions: rounding stays far below it, a bend in the path far above


@dataclass(frozen=True)
class Contributions:
    """Of a batch of images at one layer; its axes that are neither images nor units are flattened to positions.

    For each image  logit[target] = to_logit.sum() + without[target] + what first order misses;  the last is 0 up to
    rounding unless the method is `gradient x activation`. The margin, target less runner-up, likewise.
    """

    method: Method
    logits: Float[Tensor, "images classes"]
    without: Float[Tensor, "images classes"]  # with every unit of the layer off: biases and paths around the layer
    predicted: Int[Tensor, "images"]
    target: Int[Tensor, "images"]  # the class that is explained
    runner_up: Int[Tensor, "images"]  # the class of the largest logit beside the target's
    to_logit: Float[Tensor, "images units"]
    to_margin: Float[Tensor, "images units"]
    margin_at: Float[Tensor, "images positions units"]  # to_margin, position by position
    output: Float[Tensor, "images positions units"]
    won: Bool[Tensor, "images positions units"] | None  # None: the layer does not compete
    reaches: Bool[Tensor, "images positions"]  # whether anything at this position can move the margin
    places: tuple[int, ...]  # the positions before they were flattened: (height, width), (tokens,) or ()

    def of(self, image: int) -> "Contributions":
        """Those of one image, as of a batch of one."""
        every = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{k: v[image : image + 1] for k, v in every.items() if isinstance(v, Tensor)})


def contributions(
    model: nn.Module, x: Float[Tensor, "images channels height width"], layer: str, *, target: Ends = None
) -> Contributions:
    """What each unit of `layer` added to the target's logit, and to the margin: that logit less the runner-up's.

    With the layer's output a, positions p, unit k and a logit z:  c_k = sum_p a_pk dz/da_pk.  Where z is linear in a,
    z is the sum of all c_k and of what is left with the layer off (biases, paths around it). This is tried with the
    network as it is, then with the scale of later layer norms frozen, which makes the end of a transformer linear;
    where neither holds, c is gradient times activation.

    Later competitions are differentiated with their winners as they fell, never through the straight-through estimate.
    The result holds no graph.

    Args:
        target: the class to explain, by its index, or a pair, for the lead of the first over the second, which is the
            runner-up then; by default the class predicted for each image.

    Raises:
        ValueError: the model has no module `layer` (the nearest is offered), fewer than two classes, or no such target.
    """
    check_layer(model, layer)
    with fixed_noise(model):
        for method, hold in _LINEAR:
            with hold(model):
                found = _attribute(model, x, layer, target, method)
                if _adds_up(model, x, layer, found):
                    return found
        return _attribute(model, x, layer, target, "gradient x activation")


@torch.enable_grad()
def first_order(
    model: nn.Module, x: Tensor, layers: Sequence[str], *, target: Ends = None
) -> dict[str, Float[Tensor, "images units"]]:
    """Gradient times activation to the margin at many layers, from one pass forward and one backward."""
    outputs: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            outputs[layer] = output
            return output.clone()  # a later module may write into it

        return hook

    with fixed_noise(model), winner_gradients(model), ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_hook(model, layer, keep(layer)))
        logits = logits_of(model, x.detach().requires_grad_())
    chosen, runner_up = explained_classes(logits.detach(), target)
    margin = (logits.gather(1, chosen[:, None]) - logits.gather(1, runner_up[:, None])).sum()
    slopes = torch.autograd.grad(margin, list(outputs.values()), materialize_grads=True)
    axes = channel_axes(model, layers, x)
    return {
        layer: flat_positions((output * slope).detach(), axes[layer]).sum(1)
        for (layer, output), slope in zip(outputs.items(), slopes, strict=True)
    }


@torch.no_grad()
def logits_without(
    model: nn.Module, x: Tensor, layer: str, off: Bool[Tensor, "rows units"], *, of: Int[Tensor, "rows"] | None = None
) -> Float[Tensor, "rows classes"]:
    """The logits when the units of `off` give 0 at `layer`, row by row; no rival takes the place of a winner.

    What lies before the layer is computed once for each image. Noise is as `contributions` sees it.

    Args:
        of: the image of each row; by default there is a row an image, or all are of the one image.
    """

    def switch_off(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        shape = [1] * output.ndim  # one image's output is repeated for each row
        shape[0], shape[axis] = off.shape
        rows = output if of is None or len(x) == 1 else output[of]
        return rows * (~off).view(shape)

    axis = channel_axis(model, layer, x)
    with fixed_noise(model), _hook(model, layer, switch_off):
        try:
            logits = logits_of(model, x)
            if len(logits) == len(off):
                return logits
        except RuntimeError:
            if len(x) == len(off):
                raise
        # something runs beside the layer, which has no row for each of `off`
        if len(x) == 1:
            return logits_of(model, x.expand(len(off), *x.shape[1:]))
    assert of is not None, "several images have a row each, or say whose the rows are"
    each = [logits_without(model, x[i : i + 1], layer, off[of == i]) for i in range(len(x))]
    return torch.cat(each)[of.argsort(stable=True).argsort()]


def check_layer(model: nn.Module, layer: str) -> None:
    """Refuse a name that is no module of `model`; the nearest is offered, a site before any other."""
    known = [name for name, _ in model.named_modules() if name]
    if layer not in known:
        sites = [site.name for site in getattr(getattr(model, "lwta", None), "sites", ())]
        near = nearest(layer, sites) or nearest(layer, known)
        raise ValueError(f"Expected a known layer but got {layer!r}{near} (known: {', '.join((sites or known)[-6:])})")


_LINEAR: tuple[tuple[Method, Callable], ...] = (
    ("direct", nullcontext),
    ("direct, layer-norm scale frozen", frozen_norm_scale),
)


@torch.enable_grad()
def _attribute(model: nn.Module, x: Tensor, layer: str, target: Ends, method: Method) -> Contributions:
    """One pass forward, two backward to `layer`, one forward without it."""
    won: list[Tensor | None] = []

    def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        won.append(winners_of(module, inputs[0]) if isinstance(module, StochasticLWTA) else None)
        return output.detach().requires_grad_().clone()  # a clone, since a later module may write into it

    with winner_gradients(model), _hook(model, layer, cut), observe(model, [layer]) as seen:
        logits = logits_of(model, x)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"Expected a classifier of at least 2 classes but got logits of shape {tuple(logits.shape)}")
    output = seen[layer]
    axis = channel_axis(model, layer, x)
    chosen, runner_up = explained_classes(logits.detach(), target)
    by_target, by_runner_up = (_gradient(logits, label, output) for label in (chosen, runner_up))
    a, by_target, by_margin = (flat_positions(t.detach(), axis) for t in (output, by_target, by_target - by_runner_up))
    return Contributions(
        method=method,
        logits=logits.detach(),
        without=logits_without(model, x, layer, torch.ones(len(x), a.shape[-1], dtype=torch.bool, device=x.device)),
        predicted=logits.argmax(1),
        target=chosen,
        runner_up=runner_up,
        to_logit=(a * by_target).sum(1),
        to_margin=(a * by_margin).sum(1),
        margin_at=a * by_margin,
        output=a,
        won=None if won[0] is None else flat_positions(won[0], axis),
        reaches=(by_margin != 0).any(-1),
        places=tuple(output.movedim(axis, -1).shape[1:-1]),
    )


def explained_classes(logits: Float[Tensor, "images classes"], target: Ends) -> tuple[Tensor, Tensor]:
    """The class that is explained for each image, and the one behind it: of a pair the second, else the best other."""
    if target is None:
        chosen, runner_up = logits.topk(2, dim=1).indices.unbind(1)
        return chosen, runner_up
    asked = target if isinstance(target, tuple) else (target,)
    unknown = [label for label in asked if not 0 <= label < logits.shape[1]]
    if unknown:
        raise ValueError(f"Expected a target class between 0 and {logits.shape[1] - 1} but got {unknown[0]}")
    if len(set(asked)) < len(asked):
        raise ValueError(f"Expected the lead of a class over another but got class {asked[0]} twice")
    chosen, *behind = (torch.full((len(logits),), label, device=logits.device) for label in asked)
    return chosen, *(behind or [logits.scatter(1, chosen[:, None], -torch.inf).argmax(1)])


def _gradient(logits: Tensor, label: Tensor, output: Tensor) -> Tensor:
    """d logit[label] / d output; images do not mix in evaluation, so one backward pass serves them all."""
    picked = logits.gather(1, label[:, None]).sum()
    return torch.autograd.grad(picked, output, retain_graph=True, materialize_grads=True)[0]


@torch.no_grad()
def _adds_up(model: nn.Module, x: Tensor, layer: str, found: Contributions) -> bool:
    """Whether the logits of the network without some units, and without any, are those less their contributions."""
    some = torch.rand(found.to_logit.shape, generator=torch.Generator().manual_seed(0)).to(x.device) < 0.5
    slack = TOLERANCE * found.to_logit.abs().sum(1) + 1e-6 * found.logits.abs().amax(1)
    to_runner_up = found.to_logit - found.to_margin
    every = torch.ones_like(some)
    for off, left in ((every, found.without), (some, logits_without(model, x, layer, some))):
        for label, stated in ((found.target, found.to_logit), (found.runner_up, to_runner_up)):
            lost = (found.logits - left).gather(1, label[:, None])[:, 0]
            if not ((lost - (stated * off).sum(1)).abs() <= slack).all():
                return False
    return True


@contextmanager
def _hook(model: nn.Module, layer: str, hook: Callable) -> Iterator[None]:
    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def flat_positions(t: Tensor, axis: int) -> Tensor:
    """[images, ..., units, ...] as [images, positions, units]."""
    t = t.movedim(axis, -1)
    return t.reshape(t.shape[0], -1, t.shape[-1])
