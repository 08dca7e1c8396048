"""What stands where units would compete, in the twins that a competition is compared with: top-k, ReLU, GELU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .competition import Competition
from .groups import Groups


class TwinActivation(nn.Module):
    """The activation of a twin: made like the `StochasticLWTA` in whose place it stands.

    `topk`: of K units the K / U largest of the whole layer pass with their sign, the others give 0: as many as a
    competition of U lets pass. `relu`, `gelu`: torch's.
    """

    def __init__(self, competitors: int, *, channel_dim: int, competition: Competition):
        super().__init__()
        if competition.activation == "competition":
            raise ValueError("Expected the activation of a twin but got 'competition': StochasticLWTA is its layer")
        self.groups = Groups(competitors, channel_dim, competition.layout)
        self.competition = competition

    def forward(self, h: Tensor) -> Tensor:
        if self.competition.activation == "relu":
            return F.relu(h)
        if self.competition.activation == "gelu":
            return F.gelu(h)
        axis = self.groups.channel_dim
        values, units = h.topk(h.shape[axis] // self.groups.competitors, axis)
        return torch.zeros_like(h).scatter(axis, units, values)

    def extra_repr(self) -> str:
        groups, activation = self.groups, self.competition.activation
        of = f"{groups.competitors}, " if activation == "topk" else ""
        return f"{activation!r}, {of}channel_dim={groups.channel_dim}"
