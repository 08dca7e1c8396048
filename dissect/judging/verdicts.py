"""The judge's table: methods by measures, on the same units, each beside what it must beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from .bench import Bench, Labels
from .controls import Labelling, controlled
from .measures import MEASURES, Measure

RESAMPLES, LEVEL = 1000, 0.95
_FEWEST = 0.5  # of the units that the measure can judge of some method: with fewer a method stands aside there


@dataclass(frozen=True)
class Verdict:
    """One number of the table: the mean over `units` and its 95 % bootstrap interval, units drawn with replacement.

    `control` is "" for the method's own labels, else what they are compared with.
    """

    layer: str
    method: str
    control: str
    measure: str
    mean: float
    low: float
    high: float
    units: int


@dataclass(frozen=True)
class Lead:
    """By how much a method's own labels are ahead of another's in a measure: the mean paired difference over the same
    units and its 95 % bootstrap interval."""

    layer: str
    method: str
    other: str
    measure: str
    mean: float
    low: float
    high: float


def verdicts(
    bench: Bench, methods: Sequence[Labelling], vocabulary: Sequence[str], *, seed: int = 0
) -> tuple[list[Verdict], list[Lead]]:
    """The verdicts on every method by every measure that the bench has a view for, and the leads of the first method.

    In one measure all methods are judged on the same units: those for which each of them has a label that the measure
    can judge.
    """
    found: list[Verdict] = []
    leads: list[Lead] = []
    for name, measure in MEASURES.items():
        if measure.reads not in bench.views:
            continue
        score = partial(_score, bench, measure)
        tables = {each.method: controlled(each, vocabulary, score, seed=seed) for each in methods}
        judged = {method: ~table[""].isnan() for method, table in tables.items()}
        most = max(int(mask.sum()) for mask in judged.values())
        if not most:
            continue
        kept = {method: mask for method, mask in judged.items() if mask.sum() >= _FEWEST * most}
        same = torch.stack(list(kept.values())).all(0)
        for method in kept:
            for control, scores in tables[method].items():
                mean, low, high = mean_interval(scores[same], seed=seed)
                units = int((~scores[same].isnan()).sum())
                found.append(Verdict(bench.layer, method, control, name, mean, low, high, units))
        first, *others = kept
        for other in others:
            difference = tables[first][""][same] - tables[other][""][same]
            leads.append(Lead(bench.layer, first, other, name, *mean_interval(difference, seed=seed)))
    return found, leads


def mean_interval(scores: Float[Tensor, "units"], *, seed: int = 0) -> tuple[float, float, float]:
    """The mean of what is a number and its 95 % percentile bootstrap interval; NaN without any."""
    scores = scores[~scores.isnan()].double()
    if not len(scores):
        return (float("nan"),) * 3
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(scores), (RESAMPLES, len(scores)), generator=generator)
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = scores[drawn].mean(1).quantile(ends).tolist()
    return float(scores.mean()), low, high


def by_cell(found: Sequence[Verdict]) -> Mapping[tuple[str, str, str, str], Verdict]:
    """The verdicts by layer, method, control and measure."""
    return {(v.layer, v.method, v.control, v.measure): v for v in found}


def _score(bench: Bench, measure: Measure, labels: Labels) -> Float[Tensor, "units"]:
    """A number a unit; NaN where the label says nothing of any image."""
    seen = bench.views[measure.reads](labels)
    return measure.of(seen).masked_fill(seen.concept.isnan().all(0), torch.nan)
