"""The formula of `functional` in torch's operations: who wins, what passes, and the gradient.

`kernels` computes the same in Triton. Both have `compete` and `gradient`, whose `options` are noise scale, temperature
and estimator.
"""

import math

import torch
from torch import Tensor

from .competition import Estimator
from .groups import Groups, grouped
from .masks import behind_drawn, behind_largest, is_winner, without_losers
from .noise import Key, arrivals, draw_noise
from .private_torch import is_under_vmap, softmax_backward

Options = tuple[float, float, Estimator]
NOISY_LOGITS = ("gumbel", "relaxed")  # estimators whose gradient meets the noise again


def compete(h: Tensor, groups: Groups, noise: Tensor | Key | None, options: Options) -> tuple[Tensor, Tensor]:
    """What passes, and the winners; nothing of it is recorded for a gradient."""
    scale, _, estimator = options
    h, memory_format = _whole_maps(h)
    behind, index = ranked(h, groups, noise, scale, estimator)
    if estimator == "relaxed":
        y = soft_values(h, groups, noise, options, index)
    else:
        y = without_losers(grouped(h, groups)[0], behind)
    return y.reshape(h.shape).to(memory_format=memory_format), index


def gradient(
    h: Tensor, grad_y: Tensor, index: Tensor, groups: Groups, noise: Tensor | Key | None, options: Options
) -> Tensor:
    """dL/dh."""
    _, temperature, estimator = options
    h, memory_format = _whole_maps(h)
    z, axis = grouped(h, groups)
    grad_y = _whole_maps(grad_y)[0].reshape(z.shape)
    if temperature == math.inf and estimator != "relaxed":
        return grad_y.mul(is_winner(index, axis, z)).reshape(h.shape).to(memory_format=memory_format)
    soft = _soft(h, groups, noise, options)
    grad_y = grad_y.to(soft.dtype)
    products = grad_y * z
    if torch.is_grad_enabled():  # to be differentiated once more: nothing in place
        products = products.nan_to_num(0.0, 0.0, 0.0)
        grad = soft * (products - (products * soft).sum(axis, keepdim=True)) / temperature
        passed = soft if estimator == "relaxed" else is_winner(index, axis, soft)
        return (grad + grad_y * passed).reshape(h.shape).to(h.dtype)
    products.nan_to_num_(0.0, 0.0, 0.0)
    writable = _in_place(products, soft)  # two fresh tensors in all
    grad = softmax_backward(products, soft, axis, out=products if writable else None)
    if temperature != 1:
        grad.div_(temperature)
    passed = soft if estimator == "relaxed" else is_winner(index, axis, soft, out=soft if writable else None)
    return grad.addcmul_(grad_y, passed).reshape(h.shape).to(h.dtype, memory_format=memory_format)


def ranked(
    h: Tensor, groups: Groups, noise: Tensor | None, scale: float, estimator: Estimator
) -> tuple[Tensor, Tensor]:
    """How far each unit is behind the winner, grouped, and the winners as uint8 indices; see `masks`."""
    z, axis = grouped(h, groups)
    if estimator == "softmax" and noise is not None and scale > 0:
        uniform = draw_noise(h, groups, noise, estimator=estimator)
        assert uniform is not None, "a competition that draws has noise"
        return behind_drawn(z, axis, scale, uniform)
    logits = _logits(h, groups, noise, scale, estimator)
    fresh = noise is not None and estimator in NOISY_LOGITS
    return behind_largest(logits if fresh else logits.clone(), axis)


def soft_values(h: Tensor, groups: Groups, noise: Tensor | Key | None, options: Options, index: Tensor) -> Tensor:
    """h m, grouped; 0 where m is 0 though h is infinite, NaN in a group that holds a NaN."""
    z, axis = grouped(h, groups)
    y = (z * _soft(h, groups, noise, options).to(z.dtype)).nan_to_num(0.0, math.inf, -math.inf)
    number = (z.shape[axis] - index).to(y.dtype)
    return y * (number / number).unsqueeze(axis)


def _soft(h: Tensor, groups: Groups, noise: Tensor | Key | None, options: Options) -> Tensor:
    """m of the formula, grouped; half precision is widened: the softmax and its sums lose too much below fp32."""
    scale, temperature, estimator = options
    z, axis = grouped(h, groups)
    wide = torch.promote_types(z.dtype, torch.float32)
    if estimator not in NOISY_LOGITS:
        noise = None
    drawn = noise is None or noise.is_floating_point()
    if not drawn and scale == temperature and not torch.is_grad_enabled():  # in place, and no logarithm of the times
        rate = z.to(wide) - z.amax(axis, keepdim=True)
        rate = (rate if temperature == 1 else rate.div_(temperature)).exp_().div_(arrivals(h, groups, noise))
        return rate.div_(rate.sum(axis, keepdim=True))
    logits = _logits(h, groups, noise, scale, estimator).to(wide)
    return (logits if temperature == 1 else logits / temperature).softmax(axis)


def _logits(h: Tensor, groups: Groups, noise: Tensor | None, scale: float, estimator: Estimator) -> Tensor:
    """l of the formula, grouped; without noise a view of `h`."""
    z, _ = grouped(h, groups)
    if noise is None or estimator not in NOISY_LOGITS:
        return z
    if noise.is_floating_point():
        return torch.add(z, noise.reshape(z.shape), alpha=scale)
    log_time = arrivals(h, groups, noise).log_()
    out = log_time if z.itemsize <= 4 and _in_place(z, log_time) else None
    return torch.sub(z, log_time, alpha=scale, out=out)


def _in_place(*tensors: Tensor) -> bool:
    """Whether results may be written into fresh `tensors`: not where torch records or maps what is done with them."""
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling() or any(map(is_under_vmap, tensors)))


def _whole_maps(t: Tensor) -> tuple[Tensor, torch.memory_format]:
    """`t` with each unit's map in one piece, and the memory format that it had.

    On a CPU loops along the few groups of a channels-last pixel take three times as long, two copies included.
    """
    apart = t.device.type == "cpu" and t.ndim == 4 and not (torch.compiler.is_compiling() or is_under_vmap(t))
    if apart and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last):
        return t.contiguous(), torch.channels_last
    return t, torch.preserve_format
