"""How often a name would predict its unit as well by chance: permutations, and the false discoveries in a layer."""

from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

DRAWS = 10_000
_BUDGET = 2**22  # numbers at a time
_TIE = 1e-9  # of a statistic: what double precision leaves


def permutation_p_values(
    activations: Float[Tensor, "images units"],
    scores: Float[Tensor, "images units"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Float[Tensor, "units"]:
    """For each unit the share of at least `draws` permutations of the images under which its activations correlate with
    its scores at least as much as they do (studentised, one-sided; the identity counts, so p >= 1 / draws).

        T = sum_x a_x s_x / sqrt(sum_x a_x^2 (s_x - r a_x)^2),   a, s standardised, r their correlation

    Divided by its standard error, which allows for images that are not alike (loud and quiet ones, means of many
    pictures beside single ones), the test asks whether the correlation is 0; Pearson's r alone asks whether the two are
    independent, and takes unequal variances for a correlation (DiCiccio & Romano 2017, sec. 2 and 4).

    The permutations are all cyclic shifts, in a random order of the images, after each of `draws / images` random
    permutations, the identity among them: a union of cosets of one subgroup. Seen from any of its members it has the
    same distribution, so p is exact at any number of draws where the images are alike (Hemerik & Goeman 2018, theorem
    2). And the sums under all shifts are cross-correlations: Fourier transforms instead of a pass for each draw.

    A constant column gives p = 1.
    """
    n, k = activations.shape
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(n, generator=generator).to(scores.device) for _ in range(max(1, ceil(draws / n)))]
    p = torch.empty(k, dtype=torch.float64, device=scores.device)
    for units in torch.arange(k, device=scores.device).split(max(1, _BUDGET // max(n, 1))):
        s, a = (standardised(values[:, units]).T * n**0.5 for values in (scores, activations))
        fixed = torch.fft.rfft(s[:, orders[0]]).conj(), torch.fft.rfft(s[:, orders[0]] ** 2).conj()
        fourth = a.pow(4).sum(1, keepdim=True)
        observed, reached = None, torch.zeros(len(units), dtype=torch.int64, device=scores.device)
        for order in orders:
            turned = a[:, order]
            spectrum = torch.fft.rfft(turned), torch.fft.rfft(turned**2), torch.fft.rfft(turned**3)
            products = (spectrum[0] * fixed[0], spectrum[1] * fixed[1], spectrum[2] * fixed[0])
            total, squares, cubes = (torch.fft.irfft(product, n=n) for product in products)
            r = total / n
            error = (squares - 2 * r * cubes + r * r * fourth).clamp(min=_TIE * n)
            statistic = total / error.sqrt()
            if observed is None:
                observed = statistic[:, :1].clone()  # the first shift of the first order: as they stand
                observed -= _TIE * (1 + observed.abs())
            reached += (statistic >= observed).sum(1)
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
