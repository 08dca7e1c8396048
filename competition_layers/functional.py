"""The stochastic local-winner-takes-all competition as pure functions of tensors.

In each group of U competitors one unit wins and passes its value with its sign; the others give 0
(Panousis & Chatzis 2023, "DISCOVER", sec. 3; Panousis et al. 2019, "Nonparametric Bayesian Deep Networks with Local
Competition"). Nothing here is random: noise comes from a key (`noise.py`).

With noise scale s, temperature tau and G = dL/dy, one formula holds for every estimator:

    y_u = h_u p_u        dL/dh_u = G_u p_u + (1/tau) m_u (G_u h_u - sum_v m_v G_v h_v)        m = softmax(l / tau)

| estimator | who wins | p, what passes | l | source |
|---|---|---|---|---|
| `gumbel` | argmax(h + s g), g standard Gumbel | the winner, p in {0, 1} | h + s g | DISCOVER, sec. 3 |
| `softmax` | a draw from softmax(h / s), by its inverse CDF | the winner | h | Bengio et al. 2013, straight-through |
| `relaxed` | argmax(h + s g) | m: all units, softly | h + s g | Panousis et al. 2019; its exact gradient |
| `argmax` | argmax(h) | the winner | h | the others at s = 0 |

`gumbel` and `softmax` choose by one law, `softmax` from a single uniform number a group. tau shapes gradients (and
`relaxed` values), never which unit wins. At tau = inf the estimator's term is gone and dL/dh_u = G_u p_u: the gradient
of what was computed, which is a network's in evaluation.

A loser gives 0 also where it is infinite. Second derivatives are those of the formula, p a constant of the winners.
"""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .competition import Estimator
from .groups import Groups, grouped
from .masks import behind_drawn, behind_largest, is_winner, without_losers
from .noise import Key, exponential_noise, uniform_noise
from .on_gpu import kernels_for
from .private_torch import in_forward_mode, is_under_vmap, softmax_backward


def lwta(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    *,
    noise: Float[Tensor, "*drawn"] | Key | None = None,
    noise_scale: float = 1.0,
    temperature: float = 1.0,
    estimator: Estimator = "gumbel",
) -> Float[Tensor, "*shape"]:
    """Pass the winner of each group with its value, and 0 for the losers; the gradient is that of `estimator`.

    Args:
        h: pre-activations; their channel axis holds the K units.
        groups: which of them compete with one another.
        noise: a key, from which `draw_noise` draws forward and once more backward; or what it gave, which is kept for
            backward; `None` for the deterministic argmax.
        noise_scale: s.
        temperature: tau; `math.inf` for the gradient of what is computed.

    >>> lwta(torch.tensor([1.0, -3.0, 2.0, -4.0]), Groups(2, channel_dim=0))
    tensor([ 0., -3.,  2.,  0.])
    """
    return compete(h, groups, noise=noise, noise_scale=noise_scale, temperature=temperature, estimator=estimator)[0]


def compete(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    *,
    noise: Float[Tensor, "*drawn"] | Key | None = None,
    noise_scale: float = 1.0,
    temperature: float = 1.0,
    estimator: Estimator = "gumbel",
) -> tuple[Float[Tensor, "*shape"], UInt8[Tensor, "*groups"]]:
    """What `lwta` and `winners` give, at once."""
    if not torch.compiler.is_compiling() and (in_forward_mode() or torch.jit.is_tracing()):
        return _in_plain_operations(h, noise, groups, noise_scale, temperature, estimator)
    return _Competition.apply(h, noise, groups, noise_scale, temperature, estimator)


def winners(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    *,
    noise: Float[Tensor, "*drawn"] | Key | None = None,
    noise_scale: float = 1.0,
    estimator: Estimator = "gumbel",
) -> UInt8[Tensor, "*groups"]:
    """Which competitor (0 .. U-1) wins in each group; `channel_dim` shrinks from K to K/U. The first of equals wins.

    A group that holds a NaN has the index U, which no unit has.

    >>> winners(torch.tensor([1.0, -3.0, 2.0, -4.0]), Groups(2, channel_dim=0))
    tensor([1, 0], dtype=torch.uint8)
    """
    return _ranked(h, groups, noise, noise_scale, estimator)[1]


def competition_kl(h: Float[Tensor, "*shape"], groups: Groups) -> Float[Tensor, ""]:
    """KL of the posterior q = softmax(h_b) to the uniform prior: mean over groups of sum_u q_u log(U q_u).

    Between 0 (every competitor equally likely) and log U (one is certain). DISCOVER, eq. for the ELBO; never switched
    on in its published code (docs/deviations.md).
    """
    grouped_h, axis = grouped(h, groups)
    log_q = grouped_h.float().log_softmax(axis)
    return (log_q.exp() * (log_q + math.log(groups.competitors))).sum(axis).mean()


def draw_noise(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    key: Key | Float[Tensor, "*drawn"] | None,
    *,
    estimator: Estimator = "gumbel",
) -> Float[Tensor, "*drawn"] | None:
    """What an estimator needs: Gumbel noise in the shape of `h`, a uniform number a group for `softmax`, or nothing.

    What is no key is given back as it is. Only differences of Gumbel noise within a group mean anything: in groups of
    two they have its law, the two numbers have not.
    """
    if key is None or key.is_floating_point():
        return key
    if estimator == "argmax":
        return None
    if estimator == "softmax":
        return uniform_noise(drawn_shape(h, groups, estimator), key, h.device)
    return _arrivals(h, groups, key).log_().neg_().reshape(h.shape)


def drawn_shape(h: Tensor, groups: Groups, estimator: Estimator) -> list[int]:
    """The shape of what `draw_noise` draws."""
    shape = list(h.shape)
    if estimator == "softmax":
        shape[groups.channel_dim] //= groups.competitors
    return shape


class _Competition(torch.autograd.Function):
    """The formula above written out; keeps h, the noise or its key (where l needs it) and one byte a group."""

    generate_vmap_rule = True

    @staticmethod
    def forward(h, noise, groups, scale, temperature, estimator):
        kernels = kernels_for(h, groups, noise, estimator)
        if kernels is not None:
            return kernels.compete(h, groups, noise, scale, estimator)
        h, memory_format = _whole_maps(h)
        z, axis = grouped(h, groups)
        behind, index = _ranked(h, groups, noise, scale, estimator)
        if estimator == "relaxed":
            y = _soft_values(z, axis, _soft(h, groups, noise, scale, temperature, estimator), index)
        else:
            y = without_losers(z, behind)
        return y.reshape(h.shape).to(memory_format=memory_format), index

    @staticmethod
    def setup_context(ctx, inputs, output):
        h, noise, *ctx.options = inputs
        index = output[1]
        ctx.mark_non_differentiable(index)
        ctx.save_for_backward(h, noise if ctx.options[-1] in _NOISY_LOGITS else None, index)

    @staticmethod
    def backward(ctx, grad_y, _):
        h, noise, index = ctx.saved_tensors
        groups, scale, temperature, estimator = ctx.options
        kernels = None if torch.is_grad_enabled() else kernels_for(h, groups, noise, estimator)
        if kernels is not None:
            options = (scale, temperature, estimator)
            return kernels.gradient(h, grad_y, index, groups, noise, options), *_NO_GRADIENT
        h, memory_format = _whole_maps(h)
        z, axis = grouped(h, groups)
        grad_y = _whole_maps(grad_y)[0].reshape(z.shape)
        if temperature == math.inf and estimator != "relaxed":
            grad = grad_y.mul(is_winner(index, axis, z)).reshape(h.shape)
            return grad.to(memory_format=memory_format), *_NO_GRADIENT
        soft = _soft(h, groups, noise, scale, temperature, estimator)
        grad_y = grad_y.to(soft.dtype)
        products = grad_y * z
        if torch.is_grad_enabled():  # to be differentiated once more: nothing in place
            products = products.nan_to_num(0.0, 0.0, 0.0)
            grad = soft * (products - (products * soft).sum(axis, keepdim=True)) / temperature
            passed = soft if estimator == "relaxed" else is_winner(index, axis, soft)
            return (grad + grad_y * passed).reshape(h.shape).to(h.dtype), *_NO_GRADIENT
        products.nan_to_num_(0.0, 0.0, 0.0)
        writable = _in_place(products, soft)  # two fresh tensors in all
        grad = softmax_backward(products, soft, axis, out=products if writable else None)
        if temperature != 1:
            grad.div_(temperature)
        passed = soft if estimator == "relaxed" else is_winner(index, axis, soft, out=soft if writable else None)
        grad = grad.addcmul_(grad_y, passed).reshape(h.shape)
        return grad.to(h.dtype, memory_format=memory_format), *_NO_GRADIENT


_NO_GRADIENT = (None,) * 5  # for noise and options


def _whole_maps(t: Tensor) -> tuple[Tensor, torch.memory_format]:
    """`t` with each unit's map in one piece, and the memory format that it had.

    On a CPU loops along the few groups of a channels-last pixel take three times as long, two copies included.
    """
    apart = t.device.type == "cpu" and t.ndim == 4 and not (torch.compiler.is_compiling() or is_under_vmap(t))
    if apart and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last):
        return t.contiguous(), torch.channels_last
    return t, torch.preserve_format


def _in_plain_operations(h, noise, groups, scale, temperature, estimator) -> tuple[Tensor, Tensor]:
    """The same, in operations of which torch knows the forward mode too, and TorchScript how to trace them."""
    if temperature != math.inf and estimator != "relaxed":
        raise NotImplementedError(
            "Expected a gradient by reverse mode but got forward mode (jvp, jacfwd, hessian) or a TorchScript trace of "
            f"a competition in training, whose {estimator!r} estimator has none: use jacrev twice, or model.eval()"
        )
    z, axis = grouped(h, groups)
    noise = draw_noise(h, groups, noise, estimator=estimator)
    behind, index = _ranked(h.detach(), groups, noise, scale, estimator)
    if estimator == "relaxed":
        y = _soft_values(z, axis, _soft(h, groups, noise, scale, temperature, estimator), index)
    else:
        y = torch.where(behind < 0, z, 0.0)
    return y.reshape(h.shape), index


_NOISY_LOGITS = ("gumbel", "relaxed")  # estimators whose gradient meets the noise again


def _logits(h: Tensor, groups: Groups, noise: Tensor | None, scale: float, estimator: Estimator) -> Tensor:
    """l of the formula, grouped; without noise a view of `h`."""
    z, _ = grouped(h, groups)
    if noise is None or estimator not in _NOISY_LOGITS:
        return z
    if noise.is_floating_point():
        return torch.add(z, noise.reshape(z.shape), alpha=scale)
    log_time = _arrivals(h, groups, noise).log_()
    out = log_time if z.itemsize <= 4 and _in_place(z, log_time) else None
    return torch.sub(z, log_time, alpha=scale, out=out)


def _in_place(*tensors: Tensor) -> bool:
    """Whether results may be written into fresh `tensors`: not where torch records or maps what is done with them."""
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling() or any(map(is_under_vmap, tensors)))


def _soft(
    h: Tensor, groups: Groups, noise: Tensor | None, scale: float, temperature: float, estimator: Estimator
) -> Tensor:
    """m of the formula, grouped; half precision is widened: the softmax and its sums lose too much below fp32."""
    z, axis = grouped(h, groups)
    wide = torch.promote_types(z.dtype, torch.float32)
    if estimator not in _NOISY_LOGITS:
        noise = None
    drawn = noise is None or noise.is_floating_point()
    if not drawn and scale == temperature and not torch.is_grad_enabled():  # in place, and no logarithm of the times
        rate = z.to(wide) - z.amax(axis, keepdim=True)
        rate = (rate if temperature == 1 else rate.div_(temperature)).exp_().div_(_arrivals(h, groups, noise))
        return rate.div_(rate.sum(axis, keepdim=True))
    logits = _logits(h, groups, noise, scale, estimator).to(wide)
    return (logits if temperature == 1 else logits / temperature).softmax(axis)


def _arrivals(h: Tensor, groups: Groups, key: Key) -> Tensor:
    """Times E, grouped, of which -log E is Gumbel noise: softmax(z - log E) = exp(z) / E, divided by its sum.

    Only their ratios within a group mean anything. Of two numbers from Exp(1) the share of the first in their sum is
    uniform, so a uniform number v makes such a group: (v, 1 - v).
    """
    z, axis = grouped(h, groups)
    if groups.competitors > 2:
        return exponential_noise(h.shape, key, h.device).view(z.shape)
    v = uniform_noise(drawn_shape(h, groups, "softmax"), key, h.device)
    return torch.stack([v, 1 - v], axis)


def _ranked(
    h: Tensor, groups: Groups, noise: Tensor | None, scale: float, estimator: Estimator
) -> tuple[Tensor, Tensor]:
    """How far each unit is behind the winner, grouped, and the winners as uint8 indices; see `masks`."""
    z, axis = grouped(h, groups)
    if estimator == "softmax" and noise is not None and scale > 0:
        uniform = draw_noise(h, groups, noise, estimator=estimator)
        assert uniform is not None, "a competition that draws has noise"
        return behind_drawn(z, axis, scale, uniform)
    logits = _logits(h, groups, noise, scale, estimator)
    fresh = noise is not None and estimator in _NOISY_LOGITS
    return behind_largest(logits if fresh else logits.clone(), axis)


def _soft_values(z: Tensor, axis: int, soft: Tensor, index: Tensor) -> Tensor:
    """z m, 0 where m is 0 though z is infinite, NaN in a group that holds a NaN."""
    y = (z * soft.to(z.dtype)).nan_to_num(0.0, math.inf, -math.inf)
    number = (z.shape[axis] - index).to(y.dtype)
    return y * (number / number).unsqueeze(axis)
