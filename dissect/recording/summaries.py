"""What stands for an image in a unit's record: one number, summarised over the positions of the layer.

Values are (images, units, positions): positions are pixels or tokens, and vectors have one.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from competition_layers.names import nearest

SUMMARIES = ("mean", "max", "quantile", "cls", "tokens")
QUANTILE = 0.95  # of the positions that count


def check_summaries(summaries: Sequence[str]) -> None:
    """Refuse an unknown summary; the nearest is offered."""
    for summary in summaries:
        if summary not in SUMMARIES:
            raise ValueError(
                f"Expected a summary among {', '.join(SUMMARIES)} but got {summary!r}{nearest(summary, SUMMARIES)}"
            )


def of_values(
    y: Float[Tensor, "images units positions"], summaries: Sequence[str], *, prefix: int
) -> dict[str, Float[Tensor, "images units"]]:
    """The summaries of a layer that does not compete, in fp32.

    `mean`, `max` and `quantile` (the value that 1 - QUANTILE of the positions reach) are over all positions, `cls` is
    the first of the `prefix` tokens, `tokens` the mean over those after them.
    """
    made = {
        "mean": lambda: y.mean(2, dtype=torch.float32),
        "max": lambda: y.amax(2).float(),
        "quantile": lambda: _reached(y, torch.full(y.shape[:2], y.shape[2], device=y.device)),
        "cls": lambda: y[:, :, 0].float(),
        "tokens": lambda: y[:, :, prefix:].mean(2, dtype=torch.float32),
    }
    return {summary: made[summary]() for summary in summaries}


def of_competition(
    h: Float[Tensor, "images units positions"],
    won: Bool[Tensor, "images units positions"],
    summaries: Sequence[str],
    *,
    prefix: int,
) -> dict[str, Tensor]:
    """The summaries of a competition, under the names of `LayerRecord.tensors`: values, who won, and how often.

    `mean` and `tokens` count a loser as 0; `max` and `quantile` are over the positions won. `win_rate` and
    `value_when_winning` are over the positions that some summary looks at: the class token where all are `cls`.
    """
    y = h * won
    made = {
        "mean": lambda: (y.mean(2, dtype=torch.float32), won.any(2)),
        "max": lambda: (_best(h, won), won.any(2)),
        "quantile": lambda: (_reached(h.masked_fill(~won, -torch.inf), won.sum(2)), won.any(2)),
        "cls": lambda: (y[:, :, 0].float(), won[:, :, 0]),
        "tokens": lambda: (y[:, :, prefix:].mean(2, dtype=torch.float32), won[:, :, prefix:].any(2)),
    }
    flat: dict[str, Tensor] = {}
    for summary in summaries:
        flat[f"summary.{summary}"], flat[f"won.{summary}"] = made[summary]()
    if set(summaries) == {"cls"}:
        y, won = y[:, :, :1], won[:, :, :1]
    wins = won.sum(2)
    flat["win_rate"] = wins / won.shape[2]
    flat["value_when_winning"] = y.sum(2, dtype=torch.float32) / wins.clamp(min=1)
    flat["positions"] = torch.full((len(won),), won.shape[2], dtype=torch.int32)
    return flat


def record_names(made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Summaries under the names of `LayerRecord.tensors`."""
    return {f"summary.{summary}": values for summary, values in made.items()}


def _best(h: Tensor, won: Tensor) -> Tensor:
    best = h.masked_fill(~won, -torch.inf).amax(2).float()
    return best.masked_fill(~won.any(2), 0.0)


def _reached(values: Tensor, counted: Tensor) -> Tensor:
    """The value that the share 1 - QUANTILE of the `counted` largest positions reach; 0 where none counts."""
    kept = values.float().topk(ceil((1 - QUANTILE) * values.shape[2]), dim=2).values
    place = ((1 - QUANTILE) * counted).ceil().long().sub(1).clamp(min=0)
    return kept.gather(2, place[:, :, None]).squeeze(2).masked_fill(counted == 0, 0.0)
