"""Decision layers of one number of competitors side by side: one map, one competition and one noise for all of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import DecisionHead
from competition_layers.functional import lwta
from competition_layers.groups import Groups
from competition_layers.noise import gumbel_noise, key_of


class Stack(nn.Module):
    """`heads` with their groups in one row, as training sees them; `write_back` hands their units back.

    Args:
        heads: of one number of competitors U and one temperature.
        seed: of the noise.
    """

    def __init__(self, heads: Sequence[DecisionHead], seed: int):
        super().__init__()
        self.heads = tuple(heads)
        self.say = nn.ModuleList(head.decision_votes for head in heads)
        self._seed, self._passes = seed, 0
        options = [head.options for head in heads]
        self._competitors, self._temperature = options[0].competitors, options[0].temperature
        self._groups = [each.groups for each in options]
        maps = [head.decision_units for head in heads]
        self.weight = nn.Parameter(torch.cat([self._by_competitor(m.weight) for m in maps], 1))
        self.bias = nn.Parameter(torch.cat([self._by_competitor(m.bias) for m in maps], 1))
        self._noise = self._of_groups([each.noise_scale for each in options])
        self._balance = self._of_groups([each.balance / each.groups for each in options])
        self._noisy, self._balanced = bool(self._noise.any()), bool(self._balance.any())

    def loss(
        self, x: Float[Tensor, "images *places features"], target: Float[Tensor, "images classes"]
    ) -> Float[Tensor, ""]:
        """The sum of every head's cross-entropy to `target`, shares of classes, and its balance times its weight."""
        logits, h = self(x)
        loss = -(logits.log_softmax(-1) * target).sum() / len(target)
        if self._balanced:  # `balance_loss` of every group
            use = h.softmax(1).mean(0).clamp_min(1e-9) * self._competitors
            loss = loss - use.log().mean(0) @ self._balance
        return loss

    def forward(
        self, x: Float[Tensor, "images *places features"]
    ) -> tuple[Float[Tensor, "heads images classes"], Float[Tensor, "rows competitors groups"]]:
        """Logits in training, with noise, and the pre-activations; rows are images, or images and places."""
        h = F.linear(x.flatten(0, -2), self.weight.flatten(0, 1), self.bias.flatten()).unflatten(1, self.bias.shape)
        noise = None
        if self._noisy:
            noise = gumbel_noise(h.shape, key_of(self._seed, self._passes), h.device) * self._noise
            self._passes += 1
        y = lwta(h, Groups(self._competitors, channel_dim=1), noise=noise, temperature=self._temperature)
        y = y.unflatten(0, (len(x), -1)).mean(1)  # the mean of votes is the votes of the mean
        parts = y.split(self._groups, -1)
        return torch.stack([say(part.flatten(1)) for say, part in zip(self.say, parts, strict=True)]), h

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every head its map to units."""
        parts = zip(self.heads, self.weight.split(self._groups, 1), self.bias.split(self._groups, 1), strict=True)
        for head, weight, bias in parts:
            head.decision_units.weight.copy_(weight.flatten(0, 1))
            head.decision_units.bias.copy_(bias.flatten())

    def _by_competitor(self, of_units: Tensor) -> Tensor:
        """[units, ...] as [competitors, groups, ...]: the strided layout."""
        return of_units.detach().unflatten(0, (self._competitors, -1))

    def _of_groups(self, of_heads: Sequence[float]) -> Float[Tensor, "groups"]:
        device = self.weight.device
        return torch.tensor(of_heads, device=device).repeat_interleave(torch.tensor(self._groups, device=device))
