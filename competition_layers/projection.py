"""The linear map that follows a competition reads the winners alone: B of its K columns.

`sparse_inference` finds where that can be done by watching one pass, and leaves the rest as it is.
"""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .functional import Estimator, winners
from .groups import Layout, grouped, winner_units
from .layers import StochasticLWTA, assert_numbers
from .rules import inference_rule, load_noise_state, noise_state
from .surgery import competitions

# Times any difference of two floats that matters, more than any number of units; see `_winners`.
_FAR = 1e38
# Tokens a step and thread: what a step writes down stays in a core's cache (768 units: 0.8 MB).
_ROWS = 256
# Above so many weights (2 MB: no longer in a core's cache) half of the columns cost more than the dense product
# (benchmarks/inference.py --crossover); a quarter never did.
_MOST_WEIGHTS_OF_PAIRS = 2**19


def project_winners(
    h: Float[Tensor, "*tokens units"],
    table: Float[Tensor, "units features"],
    bias: Float[Tensor, "features"] | None,
    competitors: int,
    *,
    layout: Layout = "strided",
    noise: Float[Tensor, "*tokens drawn"] | None = None,
    noise_scale: float = 1.0,
    estimator: Estimator = "gumbel",
    name: str = "",
) -> Float[Tensor, "*tokens features"]:
    """`F.linear(lwta(h, ...), table.T, bias)`, but losers are not read: sum over groups of h_winner * table[winner].

    Args:
        name: of the layer, for the error text.

    Raises:
        RuntimeError: `h` holds NaN.

    >>> h, table = torch.tensor([[1.0, -3.0, 2.0, -4.0]]), torch.eye(4)
    >>> project_winners(h, table, None, 2)
    tensor([[ 0., -3.,  2.,  0.]])
    """

    def project(part, drawn):
        if drawn is None:
            unit, value = _largest(part, competitors, layout, name)
        else:
            rules = {"channel_dim": -1, "layout": layout}
            index = winners(part, competitors, noise=drawn, noise_scale=noise_scale, estimator=estimator, **rules)
            assert_numbers((index < competitors).all(), name)
            unit = winner_units(index, competitors, **rules)
            value = part.gather(-1, unit)
        y = F.embedding_bag(unit, table, per_sample_weights=value, mode="sum")
        return y if bias is None else y.add_(bias)

    flat = h.reshape(-1, h.shape[-1])
    drawn = None if noise is None else noise.reshape(len(flat), -1)
    if torch.compiler.is_compiling():  # fused by the compiler, any number of tokens
        return project(flat, drawn).view(*h.shape[:-1], table.shape[1])
    rows = _ROWS * torch.get_num_threads()
    y = flat.new_empty(len(flat), table.shape[1])
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        y[part] = project(flat[part], None if drawn is None else drawn[part])
    return y.view(*h.shape[:-1], table.shape[1])


class WinnerProjection(nn.Linear):
    """A Linear that follows `competition` and does the competing itself, when that is faster and nobody is looking.

    It is so on a CPU in fp32, in evaluation, where no gradient is recorded, and where neither module has a hook. At all
    other times the competition masks and this is the Linear it was. Weights keep their names and shapes; the matrix is
    stored with a unit's weights side by side, so nothing is stored twice.
    """

    def __init__(self, linear: nn.Linear, competition: StochasticLWTA):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight = nn.Parameter(
            linear.weight.detach().t().contiguous().t(), requires_grad=linear.weight.requires_grad
        )
        self.bias = linear.bias
        self.competition = (competition,)  # in a tuple: it stands elsewhere in the model, and is no child of this
        self.train(linear.training)

    def forward(self, h: Tensor) -> Tensor:
        if not self.competes(h):
            return super().forward(h)
        layer = self.competition[0]
        return project_winners(
            h,
            self.weight.t(),
            self.bias,
            layer.competitors,
            layout=layer.layout,
            noise=layer.draw(h) if layer.noisy else None,
            noise_scale=layer.noise,
            estimator=layer.estimator,
            name=layer.name,
        )

    def competes(self, h: Tensor) -> bool:
        """Whether the winners of `h` are found here, and not before."""
        layer = self.competition[0]
        return (
            not (layer.training or self.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
            and h.device.type == "cpu"
            and h.dtype == self.weight.dtype == torch.float32
            and not any(len(hooks) for m in (layer, self) for hooks in (m._forward_hooks, m._forward_pre_hooks))
        )


class PostponedLWTA(StochasticLWTA):
    """A competition that hands its pre-activations on untouched when the `WinnerProjection` behind it competes."""

    projection: tuple[WinnerProjection]

    def forward(self, h: Tensor) -> Tensor:
        return h if self.projection[0].competes(h) else super().forward(h)


@dataclass(frozen=True)
class WinnerPairs:
    """Which Linear reads which competition, by name; and the competitions that are left alone, with the reason."""

    linear: dict[str, str]
    left_alone: dict[str, str]


def sparse_inference(model: nn.Module, example: Tensor | None = None) -> nn.Module:
    """A copy of `model` in evaluation mode in which linear maps read the winners alone; only the speed differs.

    Equal to the masked path up to the order of summation, with the same noise where winners are sampled; input that is
    not finite gives output that is not finite. Watching a competition or its Linear by a hook brings the masked
    path back; modules between the two see the values before the competition.

    Args:
        example: one input, to see who reads what; by default a blank image of the size that the model was made for.

    Warns:
        UserWarning: competitions that were left alone, by name and with the reason.
    """
    fast = copy.deepcopy(model).eval()
    pairs = winner_pairs(fast, example)
    for name, reader in pairs.linear.items():
        layer = fast.get_submodule(name)
        projection = WinnerProjection(fast.get_submodule(reader), layer)
        parent, _, child = reader.rpartition(".")
        setattr(fast.get_submodule(parent), child, projection)
        layer.__class__ = PostponedLWTA
        layer.projection = (projection,)
    load_noise_state(fast, noise_state(model))
    if pairs.left_alone:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in pairs.left_alone.items())
        warnings.warn(f"left as they are: {reasons}", stacklevel=2)
    return fast


@torch.inference_mode(False)  # versions of tensors are counted outside of it alone
@torch.no_grad()
def winner_pairs(model: nn.Module, example: Tensor | None = None) -> WinnerPairs:
    """Find, in one pass of `example` in evaluation mode, the Linear that reads a competition with nothing between.

    Raises:
        ValueError: a model that does not know the size of its images, and no example.
    """
    layers = competitions(model)
    linears = {name: m for name, m in model.named_modules() if type(m) is nn.Linear}
    watch = _Watch()
    hooks = [layer.register_forward_hook(watch.output_of(name)) for name, layer in layers.items()]
    hooks += [linear.register_forward_pre_hook(watch.input_of(name)) for name, linear in linears.items()]
    training = {module: module.training for module in model.modules()}
    try:
        with inference_rule(model.eval(), "argmax"), watch:
            output = model(_blank(model) if example is None else example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    watch.leaves(output)
    found, left_alone = {}, {}
    for name, layer in layers.items():
        reader, reason = watch.reader(name)
        reason = reason or _why_not(layer, watch.outputs[name][0].ndim, linears[reader], watch.runs[reader])
        if reason:
            left_alone[name] = reason
        else:
            found[name] = reader
    return WinnerPairs(found, left_alone)


def _blank(model: nn.Module) -> Tensor:
    size = getattr(getattr(model, "lwta", None), "pretrained_cfg", {}).get("input_size")
    if size is None:
        raise ValueError(
            f"Expected an example input for {type(model).__name__}, which does not say the size of its images"
        )
    return torch.zeros(1, *size)


class _Watch(TorchFunctionMode):
    """Sees every torch function that is called with the output of a competition."""

    # what asks a tensor for its form, and reads no value
    _FORM = frozenset({"__get__", "size", "dim", "ndimension", "stride", "numel", "is_contiguous", "is_floating_point"})

    def __init__(self):
        super().__init__()
        self.outputs: dict[str, list[Tensor]] = {}  # kept, so that an identity is not given twice
        self.readers: dict[str, list[str]] = {}
        self.linear: dict[str, str] = {}
        self.runs: dict[str, int] = {}

    def output_of(self, name: str) -> Callable:
        def hook(module, inputs, output):
            self.outputs.setdefault(name, []).append(output)

        return hook

    def input_of(self, name: str) -> Callable:
        def hook(module, inputs):
            self.runs[name] = self.runs.get(name, 0) + 1
            for source in self._sources(inputs):
                self.linear[source] = name

        return hook

    def __torch_function__(self, function, types, args=(), kwargs=None):
        sources = self._sources((args, kwargs or {}))
        before = [self.outputs[source][0]._version for source in sources]
        result = function(*args, **(kwargs or {}))
        for source, version in zip(sources, before, strict=True):
            tensor = self.outputs[source][0]
            untouched = tensor._version == version
            if not (untouched and (result is tensor or self._asks_form(function, result))):
                self.readers.setdefault(source, []).append(getattr(function, "__name__", str(function)))
        return result

    def leaves(self, output) -> None:
        """What leaves the model is read by whoever called it."""
        for source in self._sources(output):
            self.readers.setdefault(source, []).append("the caller")

    def reader(self, name: str) -> tuple[str, str]:
        """The one Linear that reads a competition, or why there is none."""
        runs, readers = len(self.outputs.get(name, ())), self.readers.get(name, [])
        if runs != 1:
            return "", f"it ran {runs} times"
        if readers == ["linear"] and name in self.linear:
            return self.linear[name], ""
        return "", f"read by {', '.join(readers) or 'nobody'}"

    def _asks_form(self, function, result) -> bool:
        return not isinstance(result, Tensor) and getattr(function, "__name__", "") in self._FORM

    def _sources(self, values) -> list[str]:
        seen = {id(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}
        return [name for name, tensors in self.outputs.items() if id(tensors[0]) in seen]


def _why_not(layer: StochasticLWTA, ndim: int, linear: nn.Linear, runs: int) -> str:
    """Why a Linear that reads a competition should go on as it does, or nothing."""
    if layer.channel_dim % ndim != ndim - 1:
        return f"its units are on axis {layer.channel_dim}, not on the last"
    if runs != 1:
        return f"its Linear ran {runs} times"
    if layer.competitors == 2 and linear.weight.numel() > _MOST_WEIGHTS_OF_PAIRS:
        return f"half of {linear.in_features} x {linear.out_features} weights are not read faster than all of them"
    return ""


def _largest(
    h: Float[Tensor, "tokens units"], competitors: int, layout: Layout, name: str
) -> tuple[Int[Tensor, "tokens groups"], Float[Tensor, "tokens groups"]]:
    """The unit with the largest value in each group, the first of equals, and that value.

    unit = min_u( u + FAR * (max h - h_u) ): one reduction each for the largest and for its place, several times faster
    on CPU than `argmax` or `max` with indices over a strided axis. Exact: what is nearer than K / FAR to the largest
    without being equal to it is below 1e-30.
    """
    z, axis = grouped(h, competitors, channel_dim=-1, layout=layout)
    largest = z.amax(axis, keepdim=True)
    if len(h):
        most = largest.amax()
        assert_numbers(most == most, name)  # NaN is no equal of its own
    behind = largest - z
    number, _ = grouped(torch.arange(h.shape[-1], dtype=h.dtype), competitors, channel_dim=0, layout=layout)
    torch.add(number, behind, alpha=_FAR, out=behind)
    unit = behind.amin(axis).nan_to_num_(0.0).to(torch.int32)  # infinite values: NaN here
    return unit, largest.squeeze(axis)
