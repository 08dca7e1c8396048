"""The stochastic local-winner-takes-all competition as pure functions of tensors.

In each group of U competitors one unit wins and passes its value with its sign; the others give 0
(Panousis & Chatzis 2023, "DISCOVER", sec. 3; Panousis et al. 2019, "Nonparametric Bayesian Deep Networks with Local
Competition"). Nothing here draws random numbers but `gumbel_noise`.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

Layout = Literal["strided", "adjacent"]
LAYOUTS: tuple[Layout, ...] = ("strided", "adjacent")


def lwta(
    h: Float[Tensor, "*shape"],
    competitors: int,
    *,
    channel_dim: int,
    layout: Layout = "strided",
    noise: Float[Tensor, "*shape"] | None = None,
    temperature: float = 1.0,
) -> Float[Tensor, "*shape"]:
    """Pass the winner of each group with its value, and 0 for the losers.

    Forward, with noise g: y_u = h_u if u = argmax_v(h_v + g_v), else 0. With standard Gumbel noise the winner is a draw
    from Categorical(softmax(h)) (Gumbel-max). Backward, the straight-through gradient of m = softmax((h+g)/tau), with
    G = dL/dy:

        dL/dh_u = G_u [u won] + (1/tau) m_u (G_u h_u - sum_v m_v G_v h_v)

    so `temperature` shapes the gradient and never which unit wins.

    Args:
        h: pre-activations; `channel_dim` holds the K = groups x competitors units.
        competitors: U, the units in a group; must divide K.
        layout: `strided`: group b holds channels b, b+B, b+2B, ...; `adjacent`: channels bU .. bU+U-1 (the papers').
        noise: added before the comparison, already scaled; `None` for the deterministic argmax. Drawn by the caller.

    >>> lwta(torch.tensor([1.0, -3.0, 2.0, -4.0]), 2, channel_dim=0)
    tensor([ 0., -3.,  2., -0.])
    """
    return _Competition.apply(h, noise, competitors, channel_dim, layout, temperature)[0]


def winners(
    h: Float[Tensor, "*shape"],
    competitors: int,
    *,
    channel_dim: int,
    layout: Layout = "strided",
    noise: Float[Tensor, "*shape"] | None = None,
) -> UInt8[Tensor, "*groups"]:
    """Which competitor (0 .. U-1) wins in each group; `channel_dim` shrinks from K to K/U. The first of equals wins.

    >>> winners(torch.tensor([1.0, -3.0, 2.0, -4.0]), 2, channel_dim=0)
    tensor([1, 0], dtype=torch.uint8)
    """
    z = h if noise is None else h + noise
    grouped_z, axis = grouped(z, competitors, channel_dim=channel_dim, layout=layout)
    return _one_winner(grouped_z, axis)[1]


def competition_kl(
    h: Float[Tensor, "*shape"], competitors: int, *, channel_dim: int, layout: Layout = "strided"
) -> Float[Tensor, ""]:
    """KL of the posterior q = softmax(h_b) to the uniform prior: mean over groups of sum_u q_u log(U q_u).

    Between 0 (every competitor equally likely) and log U (one is certain). DISCOVER, eq. for the ELBO; never switched
    on in its published code (docs/deviations.md).
    """
    grouped_h, axis = grouped(h, competitors, channel_dim=channel_dim, layout=layout)
    log_q = grouped_h.float().log_softmax(axis)
    return (log_q.exp() * (log_q + torch.tensor(float(competitors)).log())).sum(axis).mean()


def gumbel_noise(h: Float[Tensor, "*shape"], *, generator: torch.Generator | None = None) -> Float[Tensor, "*shape"]:
    """Standard Gumbel noise in the shape of `h`, in fp32 whatever `h` is: -log(-log R), R ~ U(0, 1).

    R is kept above the smallest normal float, so the result is finite (the published form overflows in fp16).
    """
    r = torch.rand(h.shape, device=h.device, dtype=torch.float32, generator=generator)
    return r.clamp_min_(torch.finfo(torch.float32).tiny).log_().neg_().log_().neg_()


def grouped(x: Tensor, competitors: int, *, channel_dim: int, layout: Layout = "strided") -> tuple[Tensor, int]:
    """View `x` with its channel axis split in two, groups and competitors; also return the competitors' axis.

    Raises:
        ValueError: K is not a multiple of U, or the layout is unknown.
    """
    dim = channel_dim % x.ndim
    width = x.shape[dim]
    if width % competitors:
        raise ValueError(
            f"Expected a width that {competitors} competitors divide but got {width}; "
            f"numbers that would do: {', '.join(map(str, divisors(width)))}"
        )
    if layout == "strided":
        return x.unflatten(dim, (competitors, width // competitors)), dim
    if layout == "adjacent":
        return x.unflatten(dim, (width // competitors, competitors)), dim + 1
    raise ValueError(f"Expected layout 'strided' or 'adjacent' but got {layout!r}")


def winner_mask(
    index: UInt8[Tensor, "*groups"], competitors: int, *, channel_dim: int, layout: Layout = "strided"
) -> Bool[Tensor, "*shape"]:
    """The units that won, as a mask over the K channels, from the winners' indices (the inverse of `winners`).

    >>> winner_mask(torch.tensor([1, 0], dtype=torch.uint8), 2, channel_dim=0)
    tensor([False,  True,  True, False])
    """
    dim = channel_dim % index.ndim
    axis = dim if layout == "strided" else dim + 1
    return _one_hot(index, competitors, axis).flatten(dim, dim + 1)


def winner_units(
    index: UInt8[Tensor, "*groups"], competitors: int, *, channel_dim: int, layout: Layout = "strided"
) -> Tensor:
    """The 0-based channel of each group's winner, int64, in the shape of `index`."""
    dim = channel_dim % index.ndim
    groups = index.shape[dim]
    group = _along(torch.arange(groups, device=index.device), dim, index.ndim)
    return index.long() * groups + group if layout == "strided" else group * competitors + index.long()


def divisors(width: int) -> list[int]:
    """The numbers of competitors that `width` units can be split into: every divisor from 2 up to the width."""
    return [u for u in range(2, width + 1) if width % u == 0]


class _Competition(torch.autograd.Function):
    """`lwta` with the straight-through gradient written out; keeps h, the noise and one byte a group for backward."""

    @staticmethod
    def forward(h, noise, competitors, channel_dim, layout, temperature):
        z = h if noise is None else h + noise
        grouped_z, axis = grouped(z, competitors, channel_dim=channel_dim, layout=layout)
        won, index = _one_winner(grouped_z, axis)
        return h * won.reshape(h.shape), index

    @staticmethod
    def setup_context(ctx, inputs, output):
        h, noise, *ctx.options = inputs
        index = output[1]
        ctx.mark_non_differentiable(index)
        ctx.save_for_backward(h, noise, index)

    @staticmethod
    def backward(ctx, grad_y, _):
        h, noise, index = ctx.saved_tensors
        competitors, channel_dim, layout, temperature = ctx.options
        z, axis = grouped(h if noise is None else h + noise, competitors, channel_dim=channel_dim, layout=layout)
        # half precision is widened: the softmax and its sums lose too much below fp32
        wide = torch.promote_types(z.dtype, torch.float32)
        soft = (z.to(wide) / temperature).softmax(axis)
        through = (grad_y * h).reshape(z.shape).to(wide)
        through = through - (soft * through).sum(axis, keepdim=True)
        through = through.mul_(soft).div_(temperature).reshape(h.shape).to(h.dtype)
        won = winner_mask(index, competitors, channel_dim=channel_dim, layout=layout)
        return through.addcmul_(grad_y, won.to(h.dtype)), None, None, None, None, None


def _one_winner(z: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The winners along `axis`, as a uint8 one-hot and as uint8 indices; the first of equals wins.

    Written with `amax` over ranks U .. 1 given to the largest entries, because both `argmax` over a strided axis and a
    selection by booleans (`where`, `masked_fill`) are an order of magnitude slower on CPU. A NaN leaves no largest
    entry: its group gets the index U, which no unit has, and y is NaN there.
    """
    competitors = z.shape[axis]
    rank = torch.arange(competitors, 0, -1, dtype=torch.uint8, device=z.device)
    ranked = (z == z.amax(axis, keepdim=True)).view(torch.uint8) * _along(rank, axis, z.ndim)
    best = ranked.amax(axis, keepdim=True)
    return (ranked == best).view(torch.uint8), (competitors - best).squeeze(axis)


def _one_hot(index: Tensor, competitors: int, axis: int) -> Tensor:
    """True where the competitor along the new `axis` is the winner."""
    rank = torch.arange(competitors, dtype=torch.uint8, device=index.device)
    return index.unsqueeze(axis) == _along(rank, axis, index.ndim + 1)


def _along(vector: Tensor, axis: int, ndim: int) -> Tensor:
    return vector.view([-1 if d == axis else 1 for d in range(ndim)])
