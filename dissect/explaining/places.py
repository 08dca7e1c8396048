"""Where on a picture a unit spoke: a layer's positions as rows and columns, and a place in words."""

from collections.abc import Sequence
from math import isqrt

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from competition_layers.attribution import Contributions

from ..recording.subject import class_tokens
from .explanation import Grid

MOSTLY = 0.75  # of what a unit added: so much lies in the half that is named


def grid_of(model: nn.Module, found: Contributions) -> tuple[int, int] | None:
    """Rows and columns of the layer's positions; None where they are no square of tokens (or a single position)."""
    if len(found.places) == 2:
        return found.places[0], found.places[1]
    tokens = found.output.shape[1] - class_tokens(model)
    side = isqrt(max(tokens, 0))
    return (side, side) if side * side == tokens > 1 else None


def on_grid(values: Float[Tensor, "positions"], won: Bool[Tensor, "positions"], grid: tuple[int, int]) -> Grid:
    """The values row by row, None where another won; a class token in front is left out."""
    rows, columns = grid
    cells = [v if w else None for v, w in zip(values.tolist(), won.tolist(), strict=True)][-rows * columns :]
    return tuple(tuple(cells[row * columns : (row + 1) * columns]) for row in range(rows))


def place_of(added: Float[Tensor, "positions"], grid: tuple[int, int]) -> str:
    """Where the largest part of `added` lies, in words; "" where no half of the picture holds three quarters of it.

    >>> place_of(torch.tensor([2.0, 0.0, 1.0, 0.0]), (2, 2)), place_of(torch.tensor([2.0, 0.0, 0.0, 0.0]), (2, 2))
    ('left half', 'top left')
    >>> place_of(torch.ones(4), (2, 2))
    ''
    """
    rows, columns = grid
    weights = added[-rows * columns :].abs().reshape(rows, columns)
    total = float(weights.sum())
    if not total:
        return ""
    height, width = (_mostly(weights.sum(axis) / total, names) for axis, names in ((1, _HEIGHT), (0, _WIDTH)))
    if height and width:
        return f"{height} {width}"
    inner = weights[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    if min(rows, columns) >= 4 and float(inner.sum()) / total >= MOSTLY:
        return "centre"
    return f"{height or width} half" if height or width else ""


def regions_of(
    added: Float[Tensor, "positions units"], units: Sequence[int], grid: tuple[int, int]
) -> tuple[tuple[int, ...], ...]:
    """At each place the row of `units` of the unit that added most there (in size); -1 where that is none of them."""
    rows, columns = grid
    strongest = added.abs().argmax(1)[-rows * columns :].reshape(rows, columns).tolist()
    row_of = {unit: row for row, unit in enumerate(units)}
    return tuple(tuple(row_of.get(unit, -1) for unit in line) for line in strongest)


_HEIGHT, _WIDTH = ("top", "bottom"), ("left", "right")


def _mostly(profile: Float[Tensor, "places"], names: tuple[str, str]) -> str:
    """The name of the half that holds three quarters of `profile`, which sums to 1; a middle place counts half."""
    at = torch.linspace(0, 1, len(profile), device=profile.device)
    first = float(profile[at < 0.5].sum() + profile[at == 0.5].sum() / 2)
    return names[0] if first >= MOSTLY else names[1] if 1 - first >= MOSTLY else ""
