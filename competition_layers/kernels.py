"""What `formula` computes, on a GPU, in Triton: h is read once forward, and once more with dL/dy backward.

Written in torch's operations a competition passes some ten times over memory, and memory is what a GPU waits for.

A tensor without gaps is [outer, U, inner] in memory, whatever its axes: competitors lie `inner` numbers apart, and the
groups, numbered outer * inner, are the elements of what is left when the middle axis goes. A program takes `BLOCK`
groups and goes through their competitors one by one. Noise is the function of key and place of `noise`, so a GPU draws
what a CPU draws, but for rounding.
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .competition import Estimator
from .formula import Options
from .groups import Groups
from .noise import Key
from .private_torch import is_under_vmap

BLOCK = 256
_KINDS = (torch.float32, torch.float16, torch.bfloat16)


def fit(h: Tensor, groups: Groups, noise: Tensor | None, estimator: Estimator) -> bool:
    """Whether the kernels compute this competition: noise as a key, one winner, memory without gaps."""
    keyed = noise is None or not noise.is_floating_point()
    able = estimator != "relaxed" and h.dtype in _KINDS and 0 < h.numel() < 2**31
    return keyed and able and not is_under_vmap(h) and _layout(h, groups) is not None


def compete(h: Tensor, groups: Groups, noise: Key | None, options: Options) -> tuple[Tensor, Tensor]:
    """What passes, and the winners."""
    scale, _, estimator = options
    layout = _laid_out(h, groups)
    drawn = _Drawn.of(h, groups, noise if scale > 0 else None, estimator)
    y = torch.empty_like(h)
    index = _empty_groups(h, groups)
    with torch.cuda.device_of(h):
        _forward[layout.grid](
            h, y, index, drawn.numbers, layout.count, drawn.rows, scale, **layout.sizes, **drawn.sizes
        )  # fmt: skip
    return y, index


def gradient(h: Tensor, grad_y: Tensor, index: Tensor, groups: Groups, noise: Key | None, options: Options) -> Tensor:
    """dL/dh."""
    scale, temperature, estimator = options
    layout = _laid_out(h, groups)
    estimated = temperature != math.inf
    met = noise if estimated and estimator == "gumbel" and scale > 0 else None
    drawn = _Drawn.of(h, groups, met, estimator)
    if grad_y.stride() != h.stride():
        grad_y = torch.empty_like(h).copy_(grad_y)
    grad = torch.empty_like(h)
    with torch.cuda.device_of(h):
        _backward[layout.grid](
            h, grad_y, index, grad, drawn.numbers, layout.count, drawn.rows, scale, temperature if estimated else 1.0,
            ESTIMATED=estimated, **layout.sizes, **drawn.sizes,
        )  # fmt: skip
    return grad


@dataclass(frozen=True)
class _Layout:
    """[outer, U, inner] in memory; `places` where channels lie last in memory but first in the shape, of an image."""

    outer: int
    competitors: int
    inner: int
    places: int

    @property
    def count(self) -> int:
        return self.outer * self.inner

    @property
    def grid(self) -> tuple[int]:
        return (triton.cdiv(self.count, BLOCK),)

    @property
    def sizes(self) -> dict[str, int]:
        return {"U": self.competitors, "INNER": self.inner, "PLACES": self.places, "BLOCK": BLOCK}


def _layout(h: Tensor, groups: Groups) -> _Layout | None:
    dim, width, u = groups.channel_dim % h.ndim, h.shape[groups.channel_dim], groups.competitors
    outer, inner = math.prod(h.shape[:dim]), math.prod(h.shape[dim + 1 :])
    strided = groups.layout == "strided"
    if h.is_contiguous():
        return _Layout(outer, u, width // u * inner, 0) if strided else _Layout(outer * width // u, u, inner, 0)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(h.ndim)
    if strided and dim == 1 and last is not None and h.is_contiguous(memory_format=last):
        return _Layout(outer * inner, u, width // u, inner)
    return None


def _laid_out(h: Tensor, groups: Groups) -> _Layout:
    layout = _layout(h, groups)
    assert layout is not None, "`fit` said so"
    return layout


def _empty_groups(h: Tensor, groups: Groups) -> Tensor:
    """A byte a group, in memory as `h` lies."""
    shape = _reduced(h, groups)
    if h.is_contiguous():
        return torch.empty(shape, dtype=torch.uint8, device=h.device)
    batch, channels, *places = shape
    return torch.empty(batch, *places, channels, dtype=torch.uint8, device=h.device).movedim(-1, 1)


def _reduced(h: Tensor, groups: Groups) -> list[int]:
    shape = list(h.shape)
    shape[groups.channel_dim] //= groups.competitors
    return shape


@dataclass(frozen=True)
class _Drawn:
    """The numbers that uniform noise is made of (`noise.uniform_noise`): a of the rows, b and c of the columns."""

    numbers: Tensor
    rows: int
    sizes: dict[str, int]

    @classmethod
    def of(cls, h: Tensor, groups: Groups, key: Key | None, estimator: Estimator) -> "_Drawn":
        kind = _NONE
        if key is not None and estimator != "argmax":
            kind = _DRAW if estimator == "softmax" else _PAIR if groups.competitors == 2 else _GUMBEL
        if key is None or kind == _NONE:
            return cls(h, 1, {"NOISE": _NONE, "COLUMNS": 1})
        shape = list(h.shape) if kind == _GUMBEL else _reduced(h, groups)
        split = min(2, len(shape) - 1)
        rows, columns = math.prod(shape[:split]), math.prod(shape[split:])
        numbers = torch.empty(rows + 2 * columns, dtype=torch.int32, device=h.device)
        with torch.cuda.device_of(h):
            _hash[(triton.cdiv(len(numbers), BLOCK),)](numbers, int(key), len(numbers), BLOCK=BLOCK)
        return cls(numbers, rows, {"NOISE": kind, "COLUMNS": columns})


_NONE, _GUMBEL, _PAIR, _DRAW = range(4)
# as the kernels read them
_IS_GUMBEL, _IS_PAIR, _IS_DRAW = (tl.constexpr(kind) for kind in (_GUMBEL, _PAIR, _DRAW))


@triton.jit(do_not_specialize=["key"])
def _hash(numbers, key, count, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = _q(key + i.to(tl.int64) * 2654435761)
    x = _q(x ^ (x >> 32))
    tl.store(numbers + i, (x >> 32).to(tl.int32), mask=i < count)


@triton.jit
def _q(x):
    return x + 2 * x * x


@triton.jit
def _uniform(numbers, rows, o, e, inside, SIZE: tl.constexpr, COLUMNS: tl.constexpr, PLACES: tl.constexpr):
    """The number at element e of the SIZE of block o of what is drawn."""
    if PLACES > 0:
        row, column = (o // PLACES) * SIZE + e, o % PLACES
    elif SIZE % COLUMNS == 0:
        row, column = o * (SIZE // COLUMNS) + e // COLUMNS, e % COLUMNS
    else:
        row, column = o // (COLUMNS // SIZE), (o % (COLUMNS // SIZE)) * SIZE + e
    a = tl.load(numbers + row, mask=inside, other=0)
    b = tl.load(numbers + rows + column, mask=inside, other=0) | 1
    c = tl.load(numbers + rows + COLUMNS + column, mask=inside, other=0)
    return _q(c + a * b).to(tl.float32) * (2**-32 - 2**-55) + 0.5


@triton.jit
def _logit(
    z, v, u, numbers, rows, o, j, inside, scale,
    U: tl.constexpr, INNER: tl.constexpr, PLACES: tl.constexpr, NOISE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """l of the formula: z less the noise scale times the logarithm of an arrival time."""
    if NOISE == _IS_GUMBEL:
        uniform = _uniform(numbers, rows, o, u * INNER + j, inside, U * INNER, COLUMNS, PLACES)
        z = z - scale * tl.log(tl.maximum(-tl.log(uniform), 2.0**-25))  # the largest uniform has 2^-24
    elif NOISE == _IS_PAIR:
        z = z - scale * tl.log(tl.where(u == 0, v, 1 - v))
    return z


@triton.jit(do_not_specialize=["count", "rows"])
def _forward(
    h, y, index, numbers, count, rows, scale,
    U: tl.constexpr, INNER: tl.constexpr, PLACES: tl.constexpr, NOISE: tl.constexpr, COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    g = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = g < count
    o, j = g // INNER, g % INNER
    at = o * (U * INNER) + j
    v = tl.full([BLOCK], 0.0, tl.float32)
    if NOISE >= _IS_PAIR:  # a number a group
        v = _uniform(numbers, rows, o, j, inside, INNER, COLUMNS, PLACES)
    best = tl.full([BLOCK], float("-inf"), tl.float32)
    who = tl.full([BLOCK], 0, tl.int32)
    broken = g < 0
    for u in range(U):
        z = tl.load(h + at + u * INNER, mask=inside, other=0).to(tl.float32)
        if NOISE != _IS_DRAW:
            z = _logit(z, v, u, numbers, rows, o, j, inside, scale, U, INNER, PLACES, NOISE, COLUMNS)
        broken = broken | (z != z)
        ahead = z > best
        best = tl.where(ahead, z, best)
        who = tl.where(ahead, u, who)
    if NOISE == _IS_DRAW:
        total = tl.full([BLOCK], 0.0, tl.float32)
        for u in range(U):
            z = tl.load(h + at + u * INNER, mask=inside, other=0).to(tl.float32)
            total += tl.exp((z - best) / scale)
        passed = tl.full([BLOCK], 0.0, tl.float32)
        before = tl.full([BLOCK], 0, tl.int32)  # competitors whose cumulated share v exceeds
        for u in range(U):
            z = tl.load(h + at + u * INNER, mask=inside, other=0).to(tl.float32)
            passed += tl.exp((z - best) / scale)
            before += (passed <= v * total).to(tl.int32)
        broken = broken | (total != total)
        who = tl.minimum(before, U - 1)
    for u in range(U):
        chosen = broken | (who == u)
        tl.store(y + at + u * INNER, tl.load(h + at + u * INNER, mask=inside & chosen, other=0), mask=inside)
    tl.store(index + g, tl.where(broken, U, who).to(tl.uint8), mask=inside)


@triton.jit(do_not_specialize=["count", "rows"])
def _backward(
    h, grad_y, index, grad, numbers, count, rows, scale, temperature,
    ESTIMATED: tl.constexpr, U: tl.constexpr, INNER: tl.constexpr, PLACES: tl.constexpr, NOISE: tl.constexpr,
    COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    g = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = g < count
    o, j = g // INNER, g % INNER
    at = o * (U * INNER) + j
    who = tl.load(index + g, mask=inside, other=0).to(tl.int32)
    top = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.full([BLOCK], 0.0, tl.float32)
    mean = tl.full([BLOCK], 0.0, tl.float32)  # of G h, weighted by m
    v = tl.full([BLOCK], 0.0, tl.float32)
    if ESTIMATED:
        if NOISE == _IS_PAIR:
            v = _uniform(numbers, rows, o, j, inside, INNER, COLUMNS, PLACES)
        for u in range(U):
            z = tl.load(h + at + u * INNER, mask=inside, other=0).to(tl.float32)
            product = tl.load(grad_y + at + u * INNER, mask=inside, other=0).to(tl.float32) * z
            product = tl.where(tl.abs(product) < float("inf"), product, 0.0)
            logit = _logit(z, v, u, numbers, rows, o, j, inside, scale, U, INNER, PLACES, NOISE, COLUMNS) / temperature
            higher = tl.maximum(top, logit, propagate_nan=tl.PropagateNan.ALL)
            level = tl.where(higher == float("-inf"), 0.0, higher)
            share, kept = tl.exp(logit - level), tl.exp(top - level)
            total = total * kept + share
            mean = mean * kept + share * product
            top = higher
        mean = mean / total
    for u in range(U):
        passed = tl.load(grad_y + at + u * INNER, mask=inside, other=0).to(tl.float32)
        result = tl.where(who == u, passed, 0.0)
        if ESTIMATED:
            z = tl.load(h + at + u * INNER, mask=inside, other=0).to(tl.float32)
            product = passed * z
            product = tl.where(tl.abs(product) < float("inf"), product, 0.0)
            logit = _logit(z, v, u, numbers, rows, o, j, inside, scale, U, INNER, PLACES, NOISE, COLUMNS) / temperature
            result += tl.exp(logit - top) / total * (product - mean) / temperature
        tl.store(grad + at + u * INNER, result.to(grad.dtype.element_ty), mask=inside)
