"""Edits carried out: the network is changed in place, and is saved and loaded as any other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from competition_layers.gates import limit_units, scale_units, site_of
from competition_layers.spec import spec_of

from .edits import Edit


def apply_edits(model: nn.Module, edits: Sequence[Edit]) -> dict[str, str]:
    """Change `model` in place: first units are limited, then scaled or switched off, then renamed.

    Returns:
        For each edited layer how that was done: `weights` of the maps that read it, or a `gate` behind it.

    Raises:
        ValueError: a layer that has no units to be changed, a unit that it does not have, two edits of one kind for one
            unit; nothing is changed then.
    """
    check_edits(model, edits)
    done: dict[str, str] = {}
    for layer in dict.fromkeys(edit.layer for edit in edits):
        of = [edit for edit in edits if edit.layer == layer]
        width = site_of(model, layer).width or 0
        clamped = [edit for edit in of if edit.do == "clamp"]
        if clamped:
            low, high = torch.full((width,), -torch.inf), torch.full((width,), torch.inf)
            for edit in clamped:
                low[edit.unit] = -torch.inf if edit.low is None else edit.low
                high[edit.unit] = torch.inf if edit.high is None else edit.high
            limit_units(model, layer, low, high)
            done[layer] = "gate"
        factors = torch.ones(width)
        for edit in of:
            if edit.do in ("off", "scale"):
                factors[edit.unit] *= 0.0 if edit.factor is None else edit.factor
        if (factors != 1).any():
            by_weights = scale_units(model, layer, factors)
            done.setdefault(layer, "weights" if by_weights else "gate")
        _rename(model, layer, [edit for edit in of if edit.do == "rename"])
    return done


def check_edits(model: nn.Module, edits: Sequence[Edit]) -> None:
    """Refuse edits that `model` cannot take, see `apply_edits`."""
    if not edits:
        raise ValueError("Expected at least one edit but got none")
    for edit in edits:
        width = site_of(model, edit.layer).width or 0
        if edit.unit >= width:
            raise ValueError(f"Expected a unit of {edit.layer!r} between 0 and {width - 1} but got {edit.unit}")
    (place, times), *_ = Counter((edit.layer, edit.unit, edit.do) for edit in edits).most_common(1)
    if times > 1:
        raise ValueError(f"Expected one edit {place[2]!r} of unit {place[1]} of {place[0]!r} but got {times}")


def _rename(model: Any, layer: str, edits: Sequence[Edit]) -> None:
    if edits:
        spec = spec_of(model)
        names = {**spec.unit_names.get(layer, {}), **{str(edit.unit): edit.to for edit in edits}}
        model.lwta = replace(spec, unit_names={**spec.unit_names, layer: names})
