"""What a comparison found, one plain sentence each: networks on the same pictures, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RESAMPLES = 1000


@dataclass(frozen=True)
class PerPicture:
    """What one network did on each picture: whether it was right, and the negative log-likelihood of the truth."""

    right: Bool[Tensor, "images"]
    nll: Float[Tensor, "images"]


def paired_findings(of: Mapping[str, PerPicture]) -> tuple[str, ...]:
    """Each network against the first, on the same pictures: bootstrap over pictures, and McNemar's exact test."""
    (first, base), *others = of.items()
    said = []
    for name, one in others:
        apart = one.right.float() - base.right.float()
        p = mcnemar(int((apart > 0).sum()), int((apart < 0).sum()))
        pictures = f"{len(apart)} pictures"
        points = [100 * value for value in mean_with_interval(apart)]
        said.append(sentence((name, first), "points of accuracy", points, f"{pictures}, McNemar's p = {p:.2g}"))
        nats = mean_with_interval(base.nll - one.nll)  # ahead: the smaller one
        said.append(sentence((name, first), "nats of log-loss", nats, pictures))
    return tuple(said)


def mean_with_interval(values: Float[Tensor, "images"]) -> tuple[float, float, float]:
    """A mean over pictures and its 95 % interval, from 1,000 seeded resamples of the pictures."""
    generator, means = torch.Generator().manual_seed(0), []
    for _ in range(RESAMPLES // 50):
        drawn = torch.randint(len(values), (50, len(values)), generator=generator)
        means.append(values[drawn].mean(1))
    low, high = torch.cat(means).quantile(torch.tensor([0.025, 0.975])).tolist()
    return float(values.mean()), low, high


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
    interval = f"95 % interval {low:+.{digits}f} to {high:+.{digits}f}, {test}"
    if low <= 0 <= high:
        return f"{name} and {other} are level: {middle:+.{digits}f} {what} apart ({interval})."
    return (
        f"{name} is {'ahead of' if middle > 0 else 'behind'} {other} by {abs(middle):.{digits}f} {what} ({interval})."
    )
