"""What a comparison found, one plain sentence each: networks on the same pictures, with intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..numbers import percent
from .calibration import BINS
from .figures import Comparison

RESAMPLES = 1000


@dataclass(frozen=True)
class PerPicture:
    """What one network did on each picture."""

    right: Bool[Tensor, "images"]
    nll: Float[Tensor, "images"]  # negative log-likelihood of the true class
    confidence: Float[Tensor, "images"]  # the probability of the class that was said
    units: Float[Tensor, "images"]  # the share of the layer's units that makes 90 % of the lead
    layer: str = ""


def twin_ahead(comparison: Comparison) -> str:
    """Where a dense network is right more often than all in which units compete: that it is; else ""."""
    dense = [network for network in comparison.networks if network.competitors == 1]
    sparse = [network for network in comparison.networks if network.competitors > 1]
    if not dense or not sparse:
        return ""
    ahead = max(dense, key=lambda network: network.accuracy.saved)
    best = max(sparse, key=lambda network: network.accuracy.saved)
    if ahead.accuracy.saved <= best.accuracy.saved:
        return ""
    first, second = (percent(network.accuracy.saved, 1) for network in (ahead, best))
    pictures = f"{first} of {comparison.images} pictures, {best.name} {second}"
    return f"The network without competition, {ahead.name}, is right more often: {pictures}."


def paired_findings(of: Mapping[str, PerPicture]) -> tuple[str, ...]:
    """Each network against the first, on the same pictures: bootstrap over pictures, and McNemar's exact test."""
    (first, base), *others = of.items()
    said = []
    for name, one in others:
        apart = one.right.float() - base.right.float()
        p = mcnemar(int((apart > 0).sum()), int((apart < 0).sum()))
        pictures = f"{len(apart)} pictures"
        points = [100 * value for value in mean_with_interval(apart)]
        chance = f"{pictures}, {100 * p:.2g} % likely if they were alike"
        said.append(sentence((name, first), "points of accuracy", points, chance))
        nats = mean_with_interval(base.nll - one.nll)  # ahead: the smaller one
        said.append(sentence((name, first), "of log-loss", nats, pictures))
        gaps = [100 * value for value in _calibration_apart(base, one)]
        said.append(sentence((name, first), "points of calibration error", gaps, pictures))
        if one.layer == base.layer:
            shares = [100 * value for value in mean_with_interval(base.units - one.units)]  # ahead: the fewer
            said.append(sentence((name, first), "points of the units that make 90 % of the lead", shares, pictures))
    return tuple(said)


def mean_with_interval(values: Float[Tensor, "images"]) -> tuple[float, float, float]:
    """A mean over pictures and its 95 % interval, from 1,000 seeded resamples of the pictures."""
    low, high = _interval(torch.cat([values[drawn].mean(1) for drawn in _resamples(len(values))]))
    return float(values.mean()), low, high


def _calibration_apart(base: PerPicture, one: PerPicture) -> tuple[float, float, float]:
    """Of two networks the difference of their calibration errors, and its 95 % interval over the same resamples.

    The error is sum_k |sum of (right - confidence) over the pictures of bin k| / pictures.
    """
    gaps = [_gaps(each) for each in (base, one)]

    def apart(share: Float[Tensor, "samples images"]) -> Float[Tensor, "samples"]:
        first, second = ((share @ gap).abs().sum(1) for gap in gaps)
        return first - second

    images = len(base.right)
    found = []
    for drawn in _resamples(images):
        counts = torch.zeros(drawn.shape).scatter_add_(1, drawn, torch.ones(drawn.shape))
        found.append(apart(counts / images))
    return float(apart(torch.full((1, images), 1 / images))), *_interval(torch.cat(found))


def _gaps(of: PerPicture) -> Float[Tensor, "images bins"]:
    """right - confidence in the column of its bin of confidence, 0 elsewhere."""
    bins = (of.confidence * BINS).ceil().clamp(1, BINS).long() - 1
    gap = of.right.float() - of.confidence
    return gap[:, None] * torch.nn.functional.one_hot(bins, BINS)


def _resamples(images: int) -> Iterator[Int[Tensor, "samples images"]]:
    """Pictures drawn with replacement, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(RESAMPLES // 50):
        yield torch.randint(images, (50, images), generator=generator)


def _interval(values: Float[Tensor, "samples"]) -> tuple[float, float]:
    low, high = values.quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def mcnemar(one_right: int, other_right: int) -> float:
    """McNemar's exact two-sided p: how likely, among the pictures on which only one of two networks is right, so uneven
    a split is where neither is better."""
    n, least = one_right + other_right, min(one_right, other_right)
    logs = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(least + 1)
    )
    return min(1.0, 2 * sum(map(math.exp, logs)))


def sentence(names: tuple[str, str], what: str, figures: Sequence[float], test: str) -> str:
    """The one is ahead of the other, behind it, or level with it: by how much of `what`, and the interval.

    Args:
        figures: the difference, and its 95 % interval's ends.
    """
    (name, other), (middle, low, high) = names, figures
    digits = 1 if what.startswith("points") else 3
    ends = " to ".join(f"{end:+.{digits}f}".replace("-", "\N{MINUS SIGN}") for end in (low, high))
    interval = f"95 % interval {ends}, {test}"
    if low <= 0 <= high:
        return f"{name} and {other} are level: {abs(middle):.{digits}f} {what} apart ({interval})."
    return (
        f"{name} is {'ahead of' if middle > 0 else 'behind'} {other} by {abs(middle):.{digits}f} {what} ({interval})."
    )
