"""What single units did for one image: their names, values, places, rivals, and the network without them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from competition_layers import StochasticLWTA, fixed_noise, observe
from competition_layers.attribution import Contributions, flat_positions
from competition_layers.groups import grouped, winner_units

from ..folder.dissection import Dissection
from ..recording.subject import given_name
from .explanation import Alternative, Grid, Rival, SwitchOff, UnitEffect, UnitName
from .places import grid_of, on_grid, place_of
from .rows_of_units import logits_of_rows

RANDOM_DRAWS = 4  # sets of other winners that are switched off for comparison
ALTERNATIVES, RIVALS = 2, 3  # shown at most


def lead_of(logits: Float[Tensor, "rows classes"], found: Contributions) -> list[float]:
    """The target's logit less the runner-up's, both of the first image, in each row."""
    return (logits[:, found.target[0]] - logits[:, found.runner_up[0]]).tolist()


def passed(found: Contributions) -> Bool[Tensor, "units"]:
    """The units of the first image that won (gave anything but 0) at a place that can reach the decision."""
    given = found.output != 0 if found.won is None else found.won
    return (given[0] & found.reaches[0, :, None]).any(0)


@dataclass(frozen=True)
class SwitchedOff:
    """One image without some of its units: each off alone, all of them, and as many other winners (the lead lost)."""

    alone: tuple[SwitchOff, ...]
    together: SwitchOff
    random_lead: float | None  # None where there are not so many


def switch_off(
    model: nn.Module, x: Tensor, layer: str, found: Contributions, units: Sequence[Sequence[int]], labels: Sequence[str]
) -> list[SwitchedOff]:
    """The `units` of each image off. Differences are taken within the pass."""
    each = [found.of(i) for i in range(len(x))]
    logits = logits_of_rows(model, x, layer, [_off(one, shown) for one, shown in zip(each, units, strict=True)], found)
    return [_lost(*one, labels) for one in zip(each, logits, map(len, units), strict=True)]


def _off(found: Contributions, units: Sequence[int]) -> Bool[Tensor, "rows units"]:
    """Nothing off, each unit alone, all of them, then some draws of as many other winners."""
    others = _other_winners(found, units)
    off = torch.zeros_like(found.to_logit, dtype=torch.bool).repeat(len(units) + 2 + len(others), 1)
    for row, unit in enumerate(units, start=1):
        off[row, unit] = off[len(units) + 1, unit] = True
    for row, drawn in enumerate(others, start=len(units) + 2):
        off[row, drawn] = True
    return off


def _lost(found: Contributions, logits: Tensor, units: int, labels: Sequence[str]) -> SwitchedOff:
    leads = lead_of(logits, found)
    target = found.target[0]
    results = []
    for row in range(1, units + 2):
        best = int(logits[row].argmax())
        results.append(
            SwitchOff(
                logit=float(logits[0, target] - logits[row, target]),
                lead=leads[0] - leads[row],
                label=labels[best],
                probability=float(logits[row].softmax(0)[best]),
            )
        )
    drawn = leads[units + 2 :]
    return SwitchedOff(tuple(results[:-1]), results[-1], leads[0] - sum(drawn) / len(drawn) if drawn else None)


def unit_effects(
    model: nn.Module,
    layer: str,
    found: Contributions,
    rivals: Int[Tensor, "positions groups"] | None,
    offs: Sequence[tuple[int, SwitchOff]],
    dissection: Dissection | None,
) -> tuple[UnitEffect, ...]:
    """The effect of each unit of `offs`, a unit and the network without it, for one image; `rivals`: the second."""
    module = model.get_submodule(layer)
    grid = grid_of(model, found)
    effects = []
    for unit, off in offs:
        values = found.output[0, :, unit]
        won = found.won[0, :, unit] if found.won is not None else torch.ones_like(values, dtype=torch.bool)
        group, competitor = group_of(module, found.output.shape[-1], unit)
        effects.append(
            UnitEffect(
                unit=unit,
                group=group,
                competitor=competitor,
                named=unit_name(model, dissection, layer, unit),
                value=float(values[found.reaches[0] & won].mean()),
                win_share=float(won.float().mean()) if found.won is not None and len(won) > 1 else None,
                to_logit=float(found.to_logit[0, unit]),
                to_lead=float(found.to_margin[0, unit]),
                off=off,
                place="" if grid is None else place_of(found.margin_at[0, :, unit], grid),
                rivals=()
                if rivals is None
                else _seconds(
                    rivals[won & found.reaches[0]], group, lambda rival: _called(model, dissection, layer, rival)
                ),
                where=None if grid is None else on_grid(values, won, grid),
            )
        )
    return tuple(effects)


def group_of(layer: nn.Module, width: int, unit: int) -> tuple[int | None, int | None]:
    """Group and competitor of a unit; None and None where nothing competes."""
    if not isinstance(layer, StochasticLWTA):
        return None, None
    competitors, groups = layer.groups.competitors, width // layer.groups.competitors
    return (unit % groups, unit // groups) if layer.groups.layout == "strided" else divmod(unit, competitors)


def _other_winners(found: Contributions, units: Sequence[int]) -> list[Tensor]:
    """Some draws of as many winners as `units`, none of them among these; none where there are not enough."""
    free = passed(found)
    free[list(units)] = False
    candidates = free.nonzero()[:, 0]
    if not units or len(candidates) < len(units):
        return []
    generator = torch.Generator().manual_seed(0)
    orders = (torch.randperm(len(candidates), generator=generator) for _ in range(RANDOM_DRAWS))
    return [candidates[order[: len(units)].to(candidates.device)] for order in orders]


def second_units(
    model: nn.Module, x: Tensor, layer: str, found: Contributions
) -> Int[Tensor, "images positions groups"] | None:
    """At each position the unit that came second in each group, by its value before the competition; None without."""
    module = model.get_submodule(layer)
    if not isinstance(module, StochasticLWTA) or found.won is None:
        return None
    with fixed_noise(model), observe(model, layer, what="input") as seen:
        model(x)
    h = flat_positions(seen[layer], module.groups.channel_dim)
    last = replace(module.groups, channel_dim=-1)
    others, axis = grouped(h.masked_fill(found.won, -torch.inf), last)
    return winner_units(others.argmax(axis).to(torch.uint8), last)


def _seconds(rivals: Tensor, group: int | None, name_of: Callable[[int], str]) -> tuple[Rival, ...]:
    """The units that came second most often among `rivals`, the places where a unit won."""
    if not len(rivals) or group is None:
        return ()
    units, counts = rivals[:, group].unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:RIVALS]
    pairs = zip(units[order].tolist(), counts[order].tolist(), strict=True)
    return tuple(Rival(unit, name_of(unit), count / len(rivals)) for unit, count in pairs)


def unit_name(model: nn.Module, dissection: Dissection | None, layer: str, unit: int) -> UnitName:
    """What a person called it (`lwta edit`), and what a dissection says of it."""
    found = UnitName() if dissection is None else _found_name(dissection, layer, unit)
    given = given_name(model, layer, unit)
    return replace(found, name=given, was=found.name) if given else found


def _called(model: nn.Module, dissection: Dissection | None, layer: str, unit: int) -> str:
    """What a person called it (`lwta edit`), or else the dissection."""
    described = "" if dissection is None else dissection.description(layer, unit).description
    return given_name(model, layer, unit) or described


def exemplar_masks(dissection: Dissection, layer: str, unit: int) -> tuple[Grid, ...]:
    """Where the unit spoke on each of its top probe images; () where it has no positions."""
    maps = dissection.maps(layer, unit)
    ranked = [maps.get(exemplar.image) for exemplar in dissection.exemplar_images(layer, unit)]
    grids = [each for each in ranked if each is not None and each.numel() > 1]
    return tuple(tuple(map(tuple, grid.tolist())) for grid in grids)


def _found_name(dissection: Dissection, layer: str, unit: int) -> UnitName:
    description, strip = dissection.description(layer, unit), dissection.exemplars(layer, unit)
    found = UnitName(name=description.description)
    if strip.is_file():
        found = replace(found, exemplars=strip.read_bytes(), masks=exemplar_masks(dissection, layer, unit))
    evidence = description.evidence
    if not description.named or evidence is None:
        return found
    others = [Alternative(c.description, description.similarity - c.similarity) for c in description.candidates]
    return replace(
        found,
        alternatives=tuple(other for other in others if other.name != description.description)[:ALTERNATIVES],
        r=evidence.predictability,
        low=evidence.low,
        high=evidence.high,
    )
