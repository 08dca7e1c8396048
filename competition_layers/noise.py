"""The noise of a competition, as a function of a key and of each unit's place; and the keys of a layer's passes."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .private_torch import backward_in_progress, is_under_vmap, next_node_number

Key = Int64[Tensor, ""]
_REMEMBERED = 1024  # passes that activation checkpointing may ask for again


def gumbel_noise(shape: Sequence[int], key: Key, device: torch.device | str | None = None) -> Float[Tensor, "*shape"]:
    """Standard Gumbel noise in fp32: -log(-log(1 - R)), R from `uniform_noise`.

    Finite (the published form overflows in fp16); by `log1p`, which is faster than `log` on CPU.
    """
    return _signed(shape, key, device).sub_(0.5).log1p_().add_(1).neg_().log1p_().neg_()


def uniform_noise(shape: Sequence[int], key: Key, device: torch.device | str | None = None) -> Float[Tensor, "*shape"]:
    """Numbers from U(0, 1) in fp32, neither 0 nor 1, alike on every device."""
    return _signed(shape, key, device).add_(0.5)


def _signed(shape: Sequence[int], key: Key, device: torch.device | str | None) -> Float[Tensor, "*shape"]:
    """Numbers from U(-1/2, 1/2), neither of the ends.

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
    return bits.to(torch.float32).mul_(2**-32 - 2**-55).view(shape)


def _q(x: Tensor) -> Tensor:
    return x.addcmul_(x, x, value=2)


class NoiseStream:
    """The keys of a layer's passes: each a function of (seed, number of the pass)."""

    def __init__(self):
        self.restore(0, 0)
        self._latest: deque[tuple[int, int, int]] = deque(maxlen=_REMEMBERED)  # when a pass began, seed, number
        self._asked = (-1, -1)

    def restore(self, seed: int, passes: int = 0) -> None:
        """Restart at `seed`, or go on where `state` was taken."""
        self._seed = torch.tensor(seed, device="cpu")  # a tensor, since a number would be a constant of compiled graphs
        self._passes = passes

    def state(self) -> tuple[int, int]:
        """The seed, and how many passes have drawn."""
        return int(self._seed), self._passes

    def latest(self) -> Key:
        """The key of the latest pass, once more."""
        return key_of(*self.state())

    def next(self, h: Tensor, name: str) -> Key:
        """The key of a new pass over `h`.

        Activation checkpointing runs a pass again inside the backward pass, and meets its key again. Under `vmap`
        torch's stream numbers the passes, as its `randomness` asks.

        Raises:
            RuntimeError: in the layer's `name`: which pass runs again cannot be known.
        """
        if is_under_vmap(h):
            return torch.randint(2**62, (), device=h.device) ^ self._seed
        running = backward_in_progress()
        if running is not None:
            return key_of(*self._again(*running, name))
        self._passes += 1
        began = next_node_number()
        if self._latest and began < self._latest[-1][0]:
            self._latest.clear()  # remembered from another process, which counted otherwise
        self._latest.append((began, *self.state()))
        return self.latest()

    def _again(self, task: int, node: int, kind: str, name: str) -> tuple[int, int]:
        """Seed and number of the pass that is run again for the `node` of that `kind`, whose gradient is computed.

        torch numbers the nodes of its graphs as it makes them. A checkpointed block is asked for by one of its own, so
        the pass began before it; a reentrant block by the node that stands for it, made just before the pass.
        """
        asked = (task, node)
        i = bisect_right(self._latest, node, key=lambda entry: entry[0])
        i -= kind != "CheckpointFunctionBackward"
        known = range(len(self._latest) == _REMEMBERED, len(self._latest))
        if i not in known or asked == self._asked:
            got = "a second call: checkpoint each call by itself" if i in known else "an older one"
            raise RuntimeError(
                f"Expected layer {name or 'StochasticLWTA'!r} to run once in a checkpointed block, in one of its last "
                f"{_REMEMBERED} passes, but got {got}"
            )
        self._asked = asked
        return self._latest[i][1:]


def key_of(*numbers: int) -> Key:
    """A key that depends on every bit of `numbers`, which are not negative."""
    return torch.tensor(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1), device="cpu")
