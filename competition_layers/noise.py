"""The noise of a competition, as a function of a key and of each unit's place, and what of it an estimator draws."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .competition import Estimator
from .groups import Groups, grouped
from .private_torch import is_under_vmap

Key = Int64[Tensor, ""]


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
    return arrivals(h, groups, key).log_().neg_().reshape(h.shape)


def drawn_shape(h: Tensor, groups: Groups, estimator: Estimator) -> list[int]:
    """The shape of what `draw_noise` draws."""
    shape = list(h.shape)
    if estimator == "softmax":
        shape[groups.channel_dim] //= groups.competitors
    return shape


def arrivals(h: Tensor, groups: Groups, key: Key) -> Tensor:
    """Times E, grouped, of which -log E is Gumbel noise: softmax(z - log E) = exp(z) / E, divided by its sum.

    Only their ratios within a group mean anything. Of two numbers from Exp(1) the share of the first in their sum is
    uniform, so a uniform number v makes such a group: (v, 1 - v).
    """
    z, axis = grouped(h, groups)
    if groups.competitors > 2:
        return exponential_noise(h.shape, key, h.device).view(z.shape)
    v = uniform_noise(drawn_shape(h, groups, "softmax"), key, h.device)
    return torch.stack([v, 1 - v], axis)


def gumbel_noise(shape: Sequence[int], key: Key, device: torch.device | str | None = None) -> Float[Tensor, "*shape"]:
    """Standard Gumbel noise in fp32, finite (the published form overflows in fp16): -log of `exponential_noise`."""
    return exponential_noise(shape, key, device).log_().neg_()


def exponential_noise(
    shape: Sequence[int], key: Key, device: torch.device | str | None = None
) -> Float[Tensor, "*shape"]:
    """Numbers from Exp(1) in fp32, neither 0 nor infinite: -log of `uniform_noise`."""
    return uniform_noise(shape, key, device).log_().neg_()


def uniform_noise(shape: Sequence[int], key: Key, device: torch.device | str | None = None) -> Float[Tensor, "*shape"]:
    """Numbers from U(0, 1) in fp32, neither 0 nor 1, alike on every device.

    With axes 0 and 1 as rows i and the others as columns j: the upper 24 bits of q(a_i b_j + c_j) modulo 2^32; a, odd b
    and c are hashed from the key, and q(x) = x (2x + 1) is a bijection (Rivest et al. 1998, RC6). Within a row and
    within a column these are as independent as a, b and c are, and so is any pair (Dietzfelbinger 1996,
    multiply-shift). `torch.rand` takes three times as long on two cores, since its generator is serial.
    """
    split = min(2, len(shape) - 1)
    rows, columns = math.prod(shape[:split]), math.prod(shape[split:])
    places = torch.arange(rows + 2 * columns, device=device)
    x = _q(torch.add(key, places, alpha=2654435761))  # 2^32 over the golden ratio: places far apart
    x = _q(x ^ (x >> 32))
    a, b, c = (x >> 32).to(torch.int32).split([rows, columns, columns])
    bits = _q(torch.addcmul(c, a.unsqueeze(1), b | 1))
    # in their own memory: fresh memory takes longer than the rest
    numbers = bits.float() if is_under_vmap(bits) else bits.view(torch.float32).copy_(bits)
    return numbers.mul_(2**-32 - 2**-55).add_(0.5).view(shape)


def _q(x: Tensor) -> Tensor:
    return x.addcmul_(x, x, value=2)


def key_of(*numbers: int) -> Key:
    """A key that depends on every bit of `numbers`, which are not negative."""
    return torch.tensor(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1), device="cpu")
