"""What an edit changed, in figures: right answers in all, and where they are rarest."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from competition_layers import predict


@dataclass(frozen=True)
class Measured:
    """Shares of right answers by the saved rule: in all, and in the group where they are rarest."""

    accuracy: float
    worst: float
    worst_group: str
    images: int

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a file of edits."""
        return asdict(self)


def measure(
    model: nn.Module,
    passes: Iterable[Float[Tensor, "images channels height width"]],
    targets: Int[Tensor, "images"],
    groups: Sequence[str],
) -> Measured:
    """Figures of `model` on pictures, each of one of the `groups` (its class, where nothing else is known).

    Raises:
        ValueError: another number of groups than of targets.
    """
    if len(groups) != len(targets):
        raise ValueError(f"Expected a group for each of {len(targets)} pictures but got {len(groups)}")
    generator = torch.Generator().manual_seed(0)
    right = torch.cat([predict(model, x, generator=generator).argmax(1).cpu() for x in passes]) == targets
    shares = {
        group: float(right[torch.tensor([g == group for g in groups])].float().mean()) for group in sorted(set(groups))
    }
    worst = min(shares, key=lambda group: shares[group])
    return Measured(float(right.float().mean()), shares[worst], worst, len(targets))
