"""Deletion and insertion over units: how the answer goes when the strongest are switched off, or are alone on."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from competition_layers.attribution import Contributions

from .checks import UnitCurves
from .rows_of_units import logits_of_rows
from .unit_effects import passed

EACH = 8  # so many units are taken one by one, then in steps that grow
RANDOM_ORDERS = 2


@torch.no_grad()
def unit_curves(model: nn.Module, x: Tensor, layer: str, found: Contributions) -> list[UnitCurves]:
    """The curves of each image, over the units that won where it counts."""
    each = [found.of(i) for i in range(len(x))]
    plans = [_plan(one) for one in each]
    rows = [off for _, off in plans]
    logits = logits_of_rows(model, x, layer, rows, found)
    return [_curves(one, counts, of) for one, (counts, _), of in zip(each, plans, logits, strict=True)]


def _plan(found: Contributions) -> tuple[tuple[int, ...], Bool[Tensor, "rows units"]]:
    """How many units are taken at each step, and which are off: in order and at random, deleted and inserted."""
    taken = passed(found).nonzero()[:, 0]
    by_lead = taken[found.to_margin[0, taken].argsort(descending=True)]
    generator = torch.Generator().manual_seed(0)
    orders = [by_lead]
    orders += [by_lead[torch.randperm(len(taken), generator=generator).to(taken.device)] for _ in range(RANDOM_ORDERS)]
    counts, width = _counts(len(taken)), found.to_margin.shape[1]
    return counts, torch.cat([rows for order in orders for rows in _rows(order, counts, width)])


def _curves(found: Contributions, counts: tuple[int, ...], of_rows: Tensor) -> UnitCurves:
    logits = of_rows.unflatten(0, (1 + RANDOM_ORDERS, 2, len(counts)))
    heights = logits.softmax(-1)[..., found.target[0]]
    areas = torch.trapezoid(heights, torch.tensor(counts, device=heights.device) / max(counts[-1], 1), dim=-1)
    answers = logits[0].argmax(-1) == found.predicted[0]
    deletion, insertion = (tuple(row.tolist()) for row in heights[0])
    at_random = areas[1:].mean(0).tolist()
    return UnitCurves(
        counts=counts,
        deletion=deletion,
        insertion=insertion,
        deletion_area=float(areas[0, 0]),
        insertion_area=float(areas[0, 1]),
        random_deletion_area=at_random[0],
        random_insertion_area=at_random[1],
        sufficient=_first(counts, answers[1].tolist()),
        necessary=_first(counts, (~answers[0]).tolist()),
    )


def _counts(units: int) -> tuple[int, ...]:
    """0, 1, 2, ... up to `EACH`, then each a third more, and all.

    >>> _counts(3), _counts(30)
    ((0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 17, 22, 29, 30))
    """
    counts = list(range(min(units, EACH) + 1))
    while counts[-1] < units:
        counts.append(min(counts[-1] * 4 // 3, units))
    return tuple(counts)


def _rows(order: Tensor, counts: Sequence[int], width: int) -> list[Bool[Tensor, "counts units"]]:
    """What is off when the first so many of `order` are, and when all others are."""
    rank = torch.full((width,), len(order), device=order.device)
    rank[order] = torch.arange(len(order), device=order.device)
    first = rank < torch.tensor(counts, device=order.device)[:, None]
    return [first, ~first]


def _first(counts: Sequence[int], true: Sequence[bool]) -> int | None:
    return next((count for count, is_so in zip(counts, true, strict=True) if is_so), None)
