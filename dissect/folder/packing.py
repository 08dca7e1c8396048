"""A record as it lies on disk: of a competition which units won, and the values of those alone.

Values are kept in fp16 (in fp32 where fp16 would overflow), win rates as counts of positions. With one winner a group
and image who won is a uint8 index, 3 bytes a group in all, against 2 U for all its units in fp16. Over the positions of
a map several units of a group win: who did is a bit a unit, and a winner's count and mean value there, whose product is
the mean, take 3 bytes (up to 255 positions). Layers that do not compete are kept as they are.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from competition_layers import StochasticLWTA, winner_mask, winners
from competition_layers.competition import LAYOUTS
from competition_layers.groups import Groups

from ..recording.layer_record import LayerRecord
from ..recording.summaries import SUMMARIES


def pack(record: LayerRecord, layer: object) -> dict[str, Tensor]:
    """The tensors of a file, from a record and the module it is of; `unpack` reads them back."""
    order = torch.tensor([SUMMARIES.index(summary) for summary in record.summaries], dtype=torch.uint8)
    if record.won is None or record.win_rate is None or record.value_when_winning is None or record.positions is None:
        return {"summaries": order, **{f"summary.{name}": values for name, values in record.summaries.items()}}
    assert isinstance(layer, StochasticLWTA)
    groups = replace(layer.groups, channel_dim=1)
    shape = [groups.competitors, LAYOUTS.index(groups.layout), record.win_rate.shape[1]]
    flat = {"summaries": order, "competition": torch.tensor(shape)}
    anywhere = record.win_rate > 0
    flat |= {"positions": _small(record.positions), **_mask("wins", anywhere, groups)}
    if not bool((record.win_rate[anywhere] == 1).all()):
        flat["count.wins"] = _small((record.win_rate * record.positions[:, None])[anywhere].round().int())
    flat["value.wins"] = _half(record.value_when_winning[anywhere])
    for summary, values in record.summaries.items():
        same = torch.equal(record.won[summary], anywhere)
        if same and torch.allclose(values, record.win_rate * record.value_when_winning, rtol=1e-4, atol=1e-6):
            continue
        if not same:
            flat |= _mask(summary, record.won[summary], groups)
        flat[f"value.{summary}"] = _half(values[record.won[summary]])
    return flat


def unpack(flat: Mapping[str, Tensor], units: int | None = None) -> dict[str, Tensor]:
    """What `pack` packed, under the names of `LayerRecord.tensors`.

    Args:
        units: how many the layer has: what a file says of itself decides about memory.

    Raises:
        ValueError: another number of units. KeyError, IndexError, RuntimeError: it is none of ours.
    """
    order = [SUMMARIES[i] for i in flat["summaries"].tolist()]
    competes = "competition" in flat
    width = int(flat["competition"][2]) if competes else flat[f"summary.{order[0]}"].shape[1]
    if units not in (None, width):
        raise ValueError(f"{width} units, not {units}")
    if not competes:
        return {f"summary.{summary}": flat[f"summary.{summary}"] for summary in order}
    anywhere = _won("wins", flat)
    value = _placed(flat["value.wins"], anywhere)
    rate = anywhere.float()
    if "count.wins" in flat:
        rate = _placed(flat["count.wins"], anywhere) / flat["positions"][:, None]
    made: dict[str, Tensor] = {}
    for summary in order:
        own = f"index.{summary}" in flat or f"bits.{summary}" in flat
        won = _won(summary, flat) if own else anywhere
        values = _placed(flat[f"value.{summary}"], won) if f"value.{summary}" in flat else rate * value
        made |= {f"summary.{summary}": values, f"won.{summary}": won}
    return {**made, "win_rate": rate, "value_when_winning": value, "positions": flat["positions"].int()}


def _mask(name: str, won: Bool[Tensor, "images units"], groups: Groups) -> dict[str, Tensor]:
    """Who won: where that is one unit of each group its index, else a bit a unit."""
    index = winners(won.float(), groups)
    if torch.equal(winner_mask(index, groups).bool(), won):
        return {f"index.{name}": index}
    return {f"bits.{name}": torch.from_numpy(np.packbits(won.cpu().numpy(), axis=1))}


def _won(name: str, flat: Mapping[str, Tensor]) -> Bool[Tensor, "images units"]:
    competitors, layout, units = flat["competition"].tolist()
    if f"index.{name}" in flat:
        if flat[f"index.{name}"].shape[1] * competitors != units:
            raise ValueError(f"no groups of {competitors} in {units} units")
        return winner_mask(flat[f"index.{name}"], Groups(competitors, channel_dim=1, layout=LAYOUTS[layout]))
    return torch.from_numpy(np.unpackbits(flat[f"bits.{name}"].numpy(), axis=1, count=units)).bool()


def _placed(values: Tensor, won: Bool[Tensor, "images units"]) -> Float[Tensor, "images units"]:
    """The values in the places that won, row by row; 0 elsewhere."""
    return torch.zeros(won.shape).masked_scatter_(won, values.float())


def _small(counts: Int[Tensor, "counts"]) -> Tensor:
    return counts.to(torch.uint8) if int(counts.max()) < 256 else counts


def _half(values: Tensor) -> Tensor:
    half = values.half()
    return half if bool(half.isfinite().all()) else values.float()
