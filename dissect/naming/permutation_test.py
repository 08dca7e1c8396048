"""How often a name would predict its unit as well by chance: permutations, and the false discoveries in a layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

DRAWS = 10_000
_BUDGET = 2**22  # numbers at a time
_LEAST_EXCHANGED = 10  # blocks in a stratum: fewer have too few permutations
_TIE = 1e-9  # of a statistic: what double precision leaves


def permutation_p_values(
    activations: Float[Tensor, "images units"],
    scores: Float[Tensor, "images units"],
    *,
    strata: Int[Tensor, "images"] | None = None,
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

    Args:
        strata: which images may be exchanged: those of one stratum (`alike_in_size`). Each stratum is then shifted by a
            number of its own, drawn anew for each permutation, since all shifts of all strata are too many.

    A constant column gives p = 1.
    """
    n, k = activations.shape
    generator = torch.Generator().manual_seed(seed)
    within = (
        [torch.arange(n)] if strata is None else [(strata.cpu() == s).nonzero()[:, 0] for s in strata.cpu().unique()]
    )
    permutations = [_random_permutations(within, n, generator) for _ in range(max(1, ceil(draws / n)))]
    for shifts in permutations[0].shifts:
        shifts[0] = 0  # the identity: as they stand
    p = torch.empty(k, dtype=torch.float64, device=scores.device)
    for units in torch.arange(k, device=scores.device).split(max(1, _BUDGET // max(n, 1))):
        s, a = (standardised(values[:, units]).T * n**0.5 for values in (scores, activations))
        fixed = [_spectra(s[:, order])[[0, 1, 0]].conj() for order in permutations[0].orders]
        fourth = a.pow(4).sum(1, keepdim=True)
        observed, reached = None, torch.zeros(len(units), dtype=torch.int64, device=scores.device)
        for permutation in permutations:
            sums = torch.zeros(3, len(units), n, dtype=s.dtype, device=s.device)
            for spectra, order, shifts in zip(fixed, permutation.orders, permutation.shifts, strict=True):
                sums += torch.fft.irfft(_spectra(a[:, order]) * spectra, n=len(order))[..., shifts]
            total, squares, cubes = sums
            r = total / n
            error = (squares - 2 * r * cubes + r * r * fourth).clamp(min=_TIE * n)
            statistic = total / error.sqrt()
            if observed is None:
                observed = statistic[:, :1].clone()
                observed -= _TIE * (1 + observed.abs())
            reached += (statistic >= observed).sum(1)
        p[units] = reached.double() / (n * len(permutations))
    return p


def alike_in_size(sizes: Int[Tensor, "blocks"]) -> Int[Tensor, "blocks"]:
    """Strata of blocks whose means are about as noisy: of 1 picture, of 2 to 3, of 4 to 7, ...; a stratum of fewer than
    10 blocks joins the next smaller, the first one the next larger.

    >>> alike_in_size(torch.tensor([1] * 10 + [2] * 3 + [5] * 9 + [30] * 10)).unique_consecutive(return_counts=True)
    (tensor([0, 1, 4]), tensor([10, 12, 10]))
    """
    strata = sizes.double().log2().floor().long()
    for stratum in strata.unique().flip(0).tolist():
        own, others = strata == stratum, strata.unique()
        if int(own.sum()) < _LEAST_EXCHANGED and len(others) > 1:
            smaller = others[others < stratum]
            strata = strata.where(~own, smaller[-1] if len(smaller) else others[1])
    return strata


@dataclass(frozen=True)
class _Permutations:
    """Permutations of the images within strata: an order of each, and how far it is turned in each of n draws."""

    orders: tuple[Int[Tensor, "_"], ...]
    shifts: tuple[Int[Tensor, "images"], ...]


def _random_permutations(within: Sequence[Tensor], n: int, generator: torch.Generator) -> _Permutations:
    orders = tuple(members[torch.randperm(len(members), generator=generator)] for members in within)
    if len(within) == 1:
        return _Permutations(orders, (torch.arange(n),))
    return _Permutations(orders, tuple(torch.randint(len(order), (n,), generator=generator) for order in orders))


def _spectra(values: Float[Tensor, "units images"]) -> Complex[Tensor, "3 units frequencies"]:
    return torch.fft.rfft(torch.stack([values, values**2, values**3]))


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
