"""Decision layers of one number of competitors side by side: one map, one competition and one noise for all of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import DecisionHead
from competition_layers.noise import key_of, uniform_noise


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
        self._scale = self._of_groups([each.noise_scale for each in options]).clamp_min(1e-6)  # 0: argmax
        self._balance = self._of_groups([each.balance / each.groups for each in options])
        # with noise as Gumbel's and a temperature of 1, who may win and whose gradient passes are one softmax
        self._one_softmax = self._temperature == 1 and bool((self._scale == 1).all())

    def loss(
        self, x: Float[Tensor, "images *places features"], target: Float[Tensor, "images classes"]
    ) -> Float[Tensor, ""]:
        """The sum of every head's cross-entropy to `target`, shares of classes, and its balance times its weight."""
        logits, chances = self(x)
        loss = -(logits.log_softmax(-1) * target).sum() / len(target)
        use = chances.mean(0).clamp_min(1e-9) * self._competitors
        return loss - use.log().mean(0) @ self._balance  # `balance_loss` of every group

    def forward(
        self, x: Float[Tensor, "images *places features"]
    ) -> tuple[Float[Tensor, "heads images classes"], Float[Tensor, "rows competitors groups"]]:
        """Logits in training, with noise, and softmax(h) in every group; rows are images, or images and places.

        The competition of `functional` by the estimator `softmax`, written out since balance meets the same softmax.
        """
        h = F.linear(x.flatten(0, -2), self.weight.flatten(0, 1), self.bias.flatten()).unflatten(1, self.bias.shape)
        chances = h.softmax(1)
        soft = chances if self._temperature == 1 else (h / self._temperature).softmax(1)
        with torch.no_grad():
            drawn = chances if self._one_softmax else (h / self._scale).softmax(1)
            uniform = uniform_noise([len(h), 1, h.shape[2]], key_of(self._seed, self._passes), h.device)
            self._passes += 1
            reached = drawn.cumsum(1).gt_(uniform)  # from the winner on
            reached[:, -1] = 1.0  # a sum that rounding left below 1
            straight = reached - soft
            straight[:, 1:] -= reached[:, :-1]
        y = h * (soft + straight)
        y = y.unflatten(0, (len(x), -1)).mean(1)  # the mean of votes is the votes of the mean
        parts = y.split(self._groups, -1)
        return torch.stack([say(part.flatten(1)) for say, part in zip(self.say, parts, strict=True)]), chances

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
