"""Who won, as numbers of grouped tensors: what meets a boolean is five to ten times slower on a CPU.

How far each unit along `axis` is behind the winner is -1/2 for the winner and at least 1/2 for the others. In a group
that holds a NaN nobody is behind, and its index is U, which no unit has.
"""

import torch
from torch import Tensor

from .groups import along
from .private_torch import is_under_vmap


def behind_largest(logits: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """How far each is behind the first of the largest, in the place of `logits`; and the winners as uint8 indices.

    With `amin` over ranks -U .. -1 given to the largest: `argmax` over a strided axis is slow too. In place, since a
    fresh tensor of K units costs more than all that is computed on it.
    """
    competitors = logits.shape[axis]
    rank = along(torch.arange(-competitors, 0, dtype=logits.dtype, device=logits.device), axis, logits.ndim)
    ranked = logits.eq_(logits.amax(axis, keepdim=True)).mul_(rank)
    best = ranked.amin(axis, keepdim=True)
    return ranked.sub_(best + 0.5), (competitors + best).squeeze(axis).to(torch.uint8)


def behind_drawn(z: Tensor, axis: int, scale: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The same where the winner is drawn from softmax(z / s): the first whose cumulated share exceeds `uniform`."""
    passed = _cumulated(z, axis, scale)
    passed.gt_(uniform.unsqueeze(axis) * passed.narrow(axis, -1, 1))  # 1 from the winner on; nowhere beside a NaN
    right = passed.sum(axis, keepdim=True)
    number = along(torch.arange(z.shape[axis], dtype=right.dtype, device=z.device), axis, z.ndim)
    index = z.shape[axis] - right
    behind = passed.copy_(number.expand_as(passed)).sub_(index).abs_().mul_(right).sub_(0.5)
    return behind, index.squeeze(axis).to(torch.uint8)


def without_losers(z: Tensor, behind: Tensor) -> Tensor:
    """`z` where nobody is ahead, 0 elsewhere, whatever stands there (0 times an infinity is NaN); in place of `behind`.

    By clearing bits: -1, which is all bits, is the sign of a winner's `behind`, carried through its integer.
    """
    if torch.compiler.is_compiling() or is_under_vmap(behind):
        return torch.where(behind < 0, z, 0.0)
    integers, bits = _INTEGERS[behind.itemsize], 8 * behind.itemsize
    mask = behind.view(integers).bitwise_right_shift_(bits - 1).to(_INTEGERS[z.itemsize])
    return mask.bitwise_and_(z.view(mask.dtype)).view(z.dtype)


_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of an element


def is_winner(index: Tensor, axis: int, like: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 where the competitor along `axis` is the winner and 0 elsewhere, as `like` is shaped and typed."""
    number = along(torch.arange(like.shape[axis], dtype=like.dtype, device=like.device), axis, like.ndim)
    apart = index.unsqueeze(axis).to(like.dtype)
    return torch.sub(number, apart, out=out).eq_(0)


def _cumulated(z: Tensor, axis: int, scale: float) -> Tensor:
    """The sums of exp(z / s) up to each competitor, in units of the largest term, in fp32."""
    terms = z.float() - z.amax(axis, keepdim=True).float()
    if scale != 1:
        terms.div_(scale)
    terms.exp_()
    if terms.device.type != "cpu" or torch.compiler.is_compiling():
        return terms.cumsum(axis)
    for u in range(1, terms.shape[axis]):  # on a CPU `cumsum` is no vector operation
        terms.select(axis, u).add_(terms.select(axis, u - 1))
    return terms
