"""Many images, each with several sets of units off: as many of them in a pass as memory allows."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from competition_layers.attribution import Contributions, logits_without

MOST = 2**24  # values that a layer gives in one pass: 64 MiB


def logits_of_rows(
    model: nn.Module, x: Tensor, layer: str, off: Sequence[Bool[Tensor, "_ units"]], found: Contributions
) -> list[Float[Tensor, "_ classes"]]:
    """For each image of `x` the logits with each row of its `off` switched off; `found`: its contributions."""
    largest = max(len(rows) for rows in off) * found.output[0].numel()
    step, logits = max(1, MOST // max(largest, 1)), []
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        counts = [len(rows) for rows in off[part]]
        of = torch.arange(len(counts), device=x.device).repeat_interleave(torch.tensor(counts, device=x.device))
        logits += logits_without(model, x[part], layer, torch.cat(list(off[part])), of=of).split(counts)
    return logits
