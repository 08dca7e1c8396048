"""The linear map that follows a competition reads the winners alone: B of its K columns.

Where that can be done `readers` finds out by watching one pass; the rest is left as it is.
"""

import copy
import warnings
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .groups import Groups, grouped
from .inference import load_noise_state, noise_state
from .layers import StochasticLWTA, assert_numbers
from .noise import Key, draw_noise
from .wiring.readers import winner_pairs

# Below so many products a compiled masked path, which is a single kernel and the dense product, is through sooner
# (benchmarks/inference.py --crossover). In eager mode the masked path has more kernels of its own than this one.
_FEWEST_COMPILED = 2**21


def project_winners(
    h: Float[Tensor, "*tokens units"],
    table: Float[Tensor, "units features"],
    bias: Float[Tensor, "features"] | None,
    groups: Groups,
    *,
    noise: Float[Tensor, "*tokens units"] | Key | None = None,
    noise_scale: float = 1.0,
    name: str = "",
) -> Float[Tensor, "*tokens features"]:
    """`F.linear(lwta(h, ...), table.T, bias)`, but losers are not read: sum over groups of h_winner * table[winner].

    Args:
        noise: added to `h`, times `noise_scale`, where winners are chosen (`gumbel`); their values are those of `h`.
        name: of the layer, for the error text.

    Raises:
        RuntimeError: `h` holds NaN.

    >>> h, table = torch.tensor([[1.0, -3.0, 2.0, -4.0]]), torch.eye(4)
    >>> project_winners(h, table, None, Groups(2, channel_dim=-1))
    tensor([[ 0., -3.,  2.,  0.]])
    """

    flat = h.reshape(-1, h.shape[-1])
    drawn = draw_noise(h, groups, noise)
    noisy = flat if drawn is None else flat.add(drawn.reshape(flat.shape), alpha=noise_scale)
    value, unit = _largest(noisy, groups)
    if len(flat):
        most = value.amax()
        assert_numbers(most == most, name)  # NaN is no equal of its own
    if drawn is not None:
        value = flat.gather(-1, unit)
    y = F.embedding_bag(unit, table, per_sample_weights=value, mode="sum")
    return (y if bias is None else y.add_(bias)).view(*h.shape[:-1], table.shape[1])


class WinnerProjection(nn.Linear):
    """A Linear that follows a competition and does the competing itself, when that is faster and nobody is looking.

    It is so on a CPU in fp32, in evaluation, where no gradient is recorded, where neither module has a hook, and unless
    `softmax` draws the winners or a compiled graph has only a few tokens. At all other times, and once one of the two
    is taken out or wrapped, the competition masks and this is the Linear it was. Weights keep their names and shapes;
    the matrix is stored with a unit's weights side by side, so nothing is stored twice.

    Raises:
        RuntimeError: what stands between, and did nothing when the network was looked at, changed what the competition
            handed on.
    """

    pair: "_Pair"

    def __init__(self, linear: nn.Linear):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight = nn.Parameter(
            linear.weight.detach().t().contiguous().t(), requires_grad=linear.weight.requires_grad
        )
        self.bias = linear.bias
        self.train(linear.training)

    def forward(self, h: Tensor) -> Tensor:
        if not self.competes(h):
            return super().forward(h)
        layer = self.pair.layer
        if not torch.compiler.is_compiling() and getattr(h, "postponed_by", None) is not layer:
            raise RuntimeError(
                f"Expected what layer {self.pair.names[0]!r} hands on at {self.pair.names[1]!r} but got other values: "
                "a module between the two (a dropout put in training mode?) was none when the network was looked at; "
                "use the network that `sparse_inference` copied, or call it again"
            )
        return project_winners(
            h,
            self.weight.t(),
            self.bias,
            layer.groups,
            noise=layer.draw(h) if layer.noisy else None,
            noise_scale=layer.competition.noise_scale,
            name=layer.name,
        )

    def competes(self, h: Tensor) -> bool:
        """Whether the winners of `h` are found here, and not before."""
        layer = self.pair.layer
        watched = layer._forward_hooks or layer._forward_pre_hooks or self._forward_hooks or self._forward_pre_hooks
        return (
            not (watched or layer.training or self.training)
            and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
            and not (layer.noisy and layer.competition.estimator == "softmax")
            and not (torch.compiler.is_compiling() and h.numel() * self.out_features < _FEWEST_COMPILED)
            and h.device.type == "cpu"
            and h.dtype == self.weight.dtype == torch.float32
            and self.pair.stands()
        )


class PostponedLWTA(StochasticLWTA):
    """A competition that hands its pre-activations on untouched when the `WinnerProjection` behind it competes."""

    pair: "_Pair"

    def __init__(self, layer: StochasticLWTA):
        super().__init__(layer.groups.competitors, channel_dim=layer.groups.channel_dim, competition=layer.competition)
        self.__dict__.update(layer.__dict__)  # its noise, its hooks, what it replaced

    def forward(self, h: Tensor) -> Tensor:
        if not self.pair.projection.competes(h):
            return super().forward(h)
        if not torch.compiler.is_compiling():
            h.postponed_by = self  # whatever changes `h` makes another tensor, without this mark
        return h


@dataclass(eq=False)
class _Pair:
    """A competition and the Linear that reads it, by their names in the module around both."""

    around: nn.Module
    names: tuple[str, str]
    layer: PostponedLWTA
    projection: WinnerProjection

    def stands(self) -> bool:
        """Whether both still stand where they were found: not taken out, put back, wrapped."""
        return _at(self.around, self.names[0]) is self.layer and _at(self.around, self.names[1]) is self.projection


def _at(module: nn.Module | None, name: str) -> nn.Module | None:
    for part in name.split("."):
        module = None if module is None else module._modules.get(part)
    return module


def sparse_inference(model: nn.Module, example: Tensor | None = None) -> nn.Module:
    """A copy of `model` in evaluation mode in which linear maps read the winners alone; only the speed differs.

    Equal to the masked path up to the order of summation, with the same noise where winners are sampled; input that is
    not finite gives output that is not finite. Watching a competition or its Linear by a hook brings the masked
    path back; modules between the two see the values before the competition.

    Args:
        example: one input, to see who reads what; by default a blank one, see `trace`.

    Warns:
        UserWarning: competitions that were left alone, by name and with the reason.
    """
    fast = copy.deepcopy(model).eval()
    pairs = winner_pairs(fast, example)
    for name, reader in pairs.linear.items():
        _pair(fast, name, reader)
    load_noise_state(fast, noise_state(model))
    if pairs.left_alone:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in pairs.left_alone.items())
        warnings.warn(f"left as they are: {reasons}", stacklevel=2)
    return fast


def _pair(model: nn.Module, competition: str, linear: str) -> None:
    """Change `model` in place: the Linear does the competing."""
    layer = PostponedLWTA(model.get_submodule(competition))
    projection = WinnerProjection(model.get_submodule(linear))
    around = competition
    while not f"{linear}.".startswith(f"{around}.") and around:
        around = around.rpartition(".")[0]
    inner, outer = (name[len(around) :].lstrip(".") for name in (competition, linear))
    layer.pair = projection.pair = _Pair(model.get_submodule(around), (inner, outer), layer, projection)
    model.set_submodule(competition, layer)
    model.set_submodule(linear, projection)


def _largest(
    h: Float[Tensor, "tokens units"], groups: Groups
) -> tuple[Float[Tensor, "tokens groups"], Int[Tensor, "tokens groups"]]:
    """The largest value of each group, NaN where it holds one, and the unit that has it, the first of equals.

    Both are found by one max pooling over the competitors. Strided groups are the channels of a channels-last picture,
    where the pooling is vectorised; on CPU `argmax` over a strided axis takes ten times as long, unless it is compiled.
    """
    z, axis = grouped(h, replace(groups, channel_dim=-1))
    if torch.compiler.is_compiling():
        value, index = z.amax(axis), z.argmax(axis)
    else:
        picture = z.movedim(axis, -1).unsqueeze(-2)  # tokens groups 1 competitors
        value, index = (x.flatten(1) for x in F.max_pool2d(picture, (1, groups.competitors), return_indices=True))
    step, apart = (value.shape[1], 1) if groups.layout == "strided" else (1, groups.competitors)
    first = torch.arange(0, value.shape[1] * apart, apart)
    return value, torch.add(first, index, alpha=step, out=index)
