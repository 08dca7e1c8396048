"""How often a name would predict its unit as well by chance: permutations, and the false discoveries in a layer."""

from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

DRAWS = 10_000
_BUDGET = 2**23  # numbers at a time
_TIE = 1e-6  # what single precision leaves of a correlation


def permutation_p_values(
    activations: Float[Tensor, "images units"],
    scores: Float[Tensor, "images units"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Float[Tensor, "units"]:
    """For each unit the share of at least `draws` permutations of the images under which its activations correlate with
    its scores at least as much as they do (Pearson, one-sided; the identity counts, so p >= 1 / draws).

    The permutations are all cyclic shifts, in a random order of the images, after each of `draws / images` random
    permutations, the identity among them: a union of cosets of one subgroup. Seen from any of its members it has the
    same distribution, so p is exact at any number of draws (Hemerik & Goeman 2018, theorem 2). And the correlations
    under all shifts are one cross-correlation: a Fourier transform instead of a pass over the images for each draw.

    A constant column gives p = 1.
    """
    n, k = activations.shape
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(n, generator=generator).to(scores.device) for _ in range(max(1, ceil(draws / n)))]
    p = torch.empty(k, dtype=torch.float64, device=scores.device)
    for units in torch.arange(k, device=scores.device).split(max(1, _BUDGET // max(n, 1))):
        fixed, moved = standardised(scores[:, units])[orders[0]].T, standardised(activations[:, units])[orders[0]].T
        fixed, moved = fixed.float(), moved.float()
        spectrum = torch.fft.rfft(fixed).conj()
        observed = (fixed * moved).sum(1, keepdim=True) - _TIE
        reached = torch.zeros(len(units), dtype=torch.int64, device=scores.device)
        for coset, order in enumerate(orders):
            turned = moved if coset == 0 else moved[:, order]
            reached += (torch.fft.irfft(torch.fft.rfft(turned) * spectrum, n=n) >= observed).sum(1)
        p[units] = reached.double() / (n * len(orders))
    return p


def benjamini_hochberg(p: Float[Tensor, "tests"]) -> Float[Tensor, "tests"]:
    """q: the smallest level of false discoveries at which each test is called (Benjamini & Hochberg 1995), min over the
    tests j with p_j >= p_i of p_j * tests / rank_j.

    >>> [round(q, 4) for q in benjamini_hochberg(torch.tensor([0.01, 0.5, 0.02, 0.04])).tolist()]
    [0.04, 0.5, 0.04, 0.0533]
    """
    order = p.argsort(descending=True)
    ranks = torch.arange(len(p), 0, -1, device=p.device)
    q = torch.empty_like(p)
    q[order] = (p[order] * len(p) / ranks).cummin(0).values if len(p) else p
    return q.clamp(max=1)


def standardised(values: Float[Tensor, "images units"]) -> Float[Tensor, "images units"]:
    """Centred columns of length 1, in fp64; a constant column becomes zeros."""
    centred = values.double() - values.double().mean(0)
    length = centred.norm(dim=0)
    # constant up to rounding: 1e-12 of its own size
    flat = length <= 1e-12 * values.double().norm(dim=0)
    return torch.where(flat, 0.0, centred / length.where(~flat, 1.0))
