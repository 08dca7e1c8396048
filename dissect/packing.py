"""A record as it lies on disk: where one unit of each group won, its index and its value are enough.

A competition's values are kept in fp16 (in fp32 where fp16 would overflow). With one winner a group and image these are
3 bytes a group, against 2 U for all units in fp16. Over several positions a unit's win rate and mean value when winning
are kept, whose product is the mean. Layers that do not compete are kept as they are.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from competition_layers import StochasticLWTA, winner_mask, winners
from competition_layers.groups import LAYOUTS

from .records import LayerRecord
from .summaries import SUMMARIES


def pack(record: LayerRecord, layer: object) -> dict[str, Tensor]:
    """The tensors of a file, from a record and the module it is of; `unpack` reads them back."""
    order = torch.tensor([SUMMARIES.index(summary) for summary in record.summaries], dtype=torch.uint8)
    if record.won is None or record.win_rate is None or record.value_when_winning is None:
        return {"summaries": order, **{f"summary.{name}": values for name, values in record.summaries.items()}}
    assert isinstance(layer, StochasticLWTA)
    groups = layer.competitors, layer.layout
    flat = {"summaries": order, "competition": torch.tensor([layer.competitors, LAYOUTS.index(layer.layout)])}
    product, anywhere = record.win_rate * record.value_when_winning, record.win_rate > 0
    if _one_a_group(record.win_rate, groups):
        flat |= _indexed("wins", anywhere, record.value_when_winning, groups)
    else:
        flat |= {"win_rate": _half(record.win_rate), "value_when_winning": _half(record.value_when_winning)}
    for summary, values in record.summaries.items():
        won = record.won[summary]
        same = torch.equal(won, anywhere)
        if (
            same
            and ("win_rate" not in flat or summary == "mean")
            and torch.allclose(values, product, rtol=1e-4, atol=1e-6)
        ):
            continue
        if _one_a_group(won.float(), groups):
            flat |= _indexed(summary, won, values, groups)
        else:
            flat[f"summary.{summary}"] = _half(values)
            if not same:
                flat[f"won.{summary}"] = torch.from_numpy(np.packbits(won.cpu().numpy(), axis=1))
    return flat


def unpack(flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` packed, under the names of `LayerRecord.tensors`."""
    order = [SUMMARIES[i] for i in flat["summaries"].tolist()]
    if "competition" not in flat:
        return {f"summary.{summary}": flat[f"summary.{summary}"] for summary in order}
    competitors, layout = flat["competition"].tolist()
    groups = competitors, LAYOUTS[layout]
    if "index.wins" in flat:
        anywhere, value = _dense("wins", flat, groups)
        rate = anywhere.float()
    else:
        rate, value = flat["win_rate"].float(), flat["value_when_winning"].float()
        anywhere = rate > 0
    made: dict[str, Tensor] = {}
    for summary in order:
        won, values = anywhere, rate * value
        if f"index.{summary}" in flat:
            won, values = _dense(summary, flat, groups)
        elif f"summary.{summary}" in flat:
            values = flat[f"summary.{summary}"].float()
            if f"won.{summary}" in flat:
                bits = np.unpackbits(flat[f"won.{summary}"].numpy(), axis=1, count=rate.shape[1])
                won = torch.from_numpy(bits).bool()
        made |= {f"summary.{summary}": values, f"won.{summary}": won}
    return {**made, "win_rate": rate, "value_when_winning": value}


def joined(parts: Iterable[tuple[range, Mapping[str, Tensor]]], images: int) -> dict[str, Tensor]:
    """The rows of all parts in one tensor a name, without holding them twice."""
    whole: dict[str, Tensor] = {}
    for rows, flat in parts:
        for name, part in flat.items():
            if name not in whole:
                whole[name] = torch.empty(images, *part.shape[1:], dtype=part.dtype)
            whole[name][rows.start : rows.stop] = part
    return whole


def _one_a_group(won: Float[Tensor, "images units"], groups: tuple) -> bool:
    """Whether exactly one unit of each group won in each image, wherever something did."""
    return bool(((won == 0) | (won == 1)).all()) and bool((_grouped_sum(won, groups) == 1).all())


def _grouped_sum(won: Tensor, groups: tuple) -> Tensor:
    competitors, layout = groups
    return (
        won.unflatten(1, (competitors, -1)).sum(1)
        if layout == "strided"
        else won.unflatten(1, (-1, competitors)).sum(2)
    )


def _indexed(name: str, won: Bool[Tensor, "images units"], values: Tensor, groups: tuple) -> dict[str, Tensor]:
    competitors, layout = groups
    index = winners(won.float(), competitors, channel_dim=1, layout=layout)
    winning = _grouped_sum(values.masked_fill(~won, 0.0), groups)
    return {f"index.{name}": index, f"value.{name}": _half(winning)}


def _dense(name: str, flat: Mapping[str, Tensor], groups: tuple) -> tuple[Bool[Tensor, "images units"], Tensor]:
    competitors, layout = groups
    index: UInt8[Tensor, "images groups"] = flat[f"index.{name}"]
    won = winner_mask(index, competitors, channel_dim=1, layout=layout)
    value = flat[f"value.{name}"].float()
    spread = value.repeat(1, competitors) if layout == "strided" else value.repeat_interleave(competitors, 1)
    return won, torch.where(won, spread, 0.0)


def _half(values: Tensor) -> Tensor:
    half = values.half()
    return half if bool(half.isfinite().all()) else values.float()
