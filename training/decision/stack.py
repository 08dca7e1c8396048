"""Decision layers of one number of competitors side by side: one map, one competition and one noise for all of them.

Those whose units do not compete are trained one by one.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from competition_layers import DecisionHead, focus_loss, project_votes
from competition_layers.noise import key_of, uniform_noise


class Stack(nn.Module):
    """`heads` with their groups in one row, as training sees them; `write_back` hands their weights back.

    Images come last, so that what is done to a unit runs along them in memory, however few groups there are.

    Args:
        heads: of one number of competitors U and one temperature.
        seed: of the noise.
    """

    def __init__(self, heads: Sequence[DecisionHead], seed: int):
        super().__init__()
        self.heads = tuple(heads)
        self._seed, self._passes = seed, 0
        options = [head.options for head in heads]
        self._competitors, self._temperature = options[0].competitors, options[0].temperature
        self._groups = [each.groups for each in options]
        self.weight = nn.Parameter(torch.cat([self._by_group(head.decision_units.weight) for head in heads]))
        self.bias = nn.Parameter(torch.cat([self._by_group(head.decision_units.bias) for head in heads]))
        votes = (self._by_group(head.decision_votes.weight.t()).flatten(0, 1) for head in heads)
        self.votes = nn.ParameterList(each.t().contiguous() for each in votes)
        self.votes_bias = nn.Parameter(torch.stack([head.decision_votes.bias.detach() for head in heads]))
        scales = [each.noise_scale for each in options]
        self._noisy = any(scales)
        self._scale = None if set(scales) == {1.0} else self._of_groups(scales).clamp_min(1e-6)  # 0: argmax
        self._balance = self._of_groups([each.balance / each.groups for each in options])
        self._units = [groups * self._competitors for groups in self._groups]
        self._focus = torch.tensor([float(each.focus) for each in options], device=self.weight.device)
        self._focused = any(each.focus for each in options)
        of_groups = self._of_groups(range(len(heads))).long()
        self._head_of = of_groups if options[0].at == "pooled" else of_groups.repeat_interleave(self._competitors)

    def loss(
        self, x: Float[Tensor, "images *places features"], target: Float[Tensor, "images classes"]
    ) -> Float[Tensor, ""]:
        """The sum of every head's cross-entropy to `target`, shares of classes, its balance and its focus."""
        logits, said, units, use = self(x)
        loss = -(logits.log_softmax(1) * target.t()).sum() / len(target)
        loss = loss - (use.clamp_min(1e-9) * self._competitors).log().mean(1) @ self._balance  # `balance_loss`
        return loss + self._focus @ self._entropies(said, units, logits) if self._focused else loss

    def forward(
        self, x: Float[Tensor, "images *places features"]
    ) -> tuple[
        Float[Tensor, "heads classes images"],
        Float[Tensor, "said images"],
        Int[Tensor, "said images"],
        Float[Tensor, "groups competitors"],
    ]:
        """Logits in training, with noise; what was said and by which unit, of a pooled layer by the winners, at
        positions by every unit in the mean; and each unit's mean of softmax(h) in its group, over images and places."""
        rows = x.flatten(0, -2)
        h = torch.addmm(self.bias.flatten()[:, None], self.weight.flatten(0, 1), rows.t())
        uniform = None
        if self._noisy:
            uniform = uniform_noise([len(rows), 1, len(self.bias)], key_of(self._seed, self._passes), h.device)
            uniform = uniform.permute(2, 1, 0).contiguous()
        self._passes += 1
        h = h.unflatten(0, self.bias.shape)
        y, use, said, units = _Competition.apply(h, uniform, self._scale, self._temperature)
        y = y.flatten(0, 1)
        if x.ndim > 2:  # the mean of votes is the votes of the mean
            y = said = y.unflatten(1, (len(x), -1)).mean(2)
            units = torch.arange(len(y), device=y.device)[:, None].expand_as(y)
        parts = zip(self.votes, y.split(self._units), strict=True)
        logits = torch.stack([votes @ part for votes, part in parts])
        return logits + self.votes_bias[:, :, None], said, units, use

    @torch.no_grad()
    def project(self) -> None:
        """`project_votes` of every head."""
        for head, votes in zip(self.heads, self.votes, strict=True):
            if head.options.votes == "non_negative":
                votes.clamp_(min=0)

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every head its maps to units and to classes."""
        parts = zip(self.heads, self.weight.split(self._groups), self.bias.split(self._groups), strict=True)
        for (head, weight, bias), votes, votes_bias in zip(parts, self.votes, self.votes_bias, strict=True):
            head.decision_units.weight.copy_(weight.transpose(0, 1).flatten(0, 1))
            head.decision_units.bias.copy_(bias.t().flatten())
            of_units = votes.t().unflatten(0, (-1, self._competitors))
            head.decision_votes.weight.copy_(of_units.transpose(0, 1).flatten(0, 1).t())
            head.decision_votes.bias.copy_(votes_bias)

    def _entropies(
        self, said: Float[Tensor, "said images"], units: Int[Tensor, "said images"], logits: Tensor
    ) -> Float[Tensor, "heads"]:
        """`focus_loss` of every head: with a = |vote to the lead| and A = sum a, log A - (sum a log a) / A."""
        weight = torch.cat(list(self.votes), 1)
        first, second = (
            weight.view(-1).index_select(0, (chosen[self._head_of] * weight.shape[1] + units).flatten()).view_as(said)
            for chosen in logits.detach().topk(2, dim=1).indices.unbind(1)
        )
        a = (said * (first - second)).abs().clamp_min(1e-30)
        sums = said.new_zeros(2, len(logits), said.shape[1]).index_add(1, self._head_of, torch.stack([a, a * a.log()]))
        total = sums[0].clamp_min(1e-12)
        return (total.log() - sums[1] / total).clamp_min(0).mean(1)

    def _by_group(self, of_units: Tensor) -> Tensor:
        """[units, ...] of the strided layout as [groups, competitors, ...]."""
        return of_units.detach().unflatten(0, (self._competitors, -1)).transpose(0, 1)

    def _of_groups(self, of_heads: Sequence[float]) -> Float[Tensor, "groups"]:
        device = self.weight.device
        each = torch.tensor(of_heads, dtype=torch.float, device=device)
        return each.repeat_interleave(torch.tensor(self._groups, device=device))


class Unstacked(nn.Module):
    """One decision layer whose units do not compete, a twin's, trained as it stands."""

    def __init__(self, head: DecisionHead):
        super().__init__()
        self.head = head

    def loss(
        self, x: Float[Tensor, "images *places features"], target: Float[Tensor, "images classes"]
    ) -> Float[Tensor, ""]:
        """Its cross-entropy to `target`, shares of classes, and its focus."""
        said = self.head.decision(self.head.decision_units(x))
        said = said if said.ndim == 2 else said.flatten(1, -2).mean(1)
        logits, focus = self.head.decision_votes(said), self.head.options.focus
        loss = F.cross_entropy(logits, target)
        return loss + focus * focus_loss(said, logits, self.head.decision_votes.weight) if focus else loss

    def project(self) -> None:
        """`project_votes` of the head."""
        project_votes(self.head)


class _Competition(torch.autograd.Function):
    """The competition of `functional` by the estimator `softmax` along axis 1, and the mean of softmax(h) along axis 2.

    Written out, since the balance of units meets the same softmax: with m = softmax(h / tau), p = softmax(h), G and c
    the gradients of what was given (G of the winners' values, given once more by themselves, too),

        dL/dh_u = G_u hard_u + m_u / tau (G_u h_u - sum_v m_v G_v h_v) + p_u / N (c_u - sum_v p_v c_v)
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, uniform: Tensor | None, scale: Tensor | None, temperature: float
    ) -> tuple[Tensor, ...]:
        p = h.softmax(1)
        if uniform is None:
            first = h.max(1).indices  # five times as fast as argmax
        else:
            drawn = p if scale is None else (h / scale[:, None, None]).softmax(1)
            # sums over the units so far; the winner is the first whose sum exceeds what was drawn
            reached = torch.ones(h.shape[1], h.shape[1], device=h.device).tril() @ drawn
            first = reached.le_(uniform).sum(1).clamp_max_(h.shape[1] - 1).long()  # rounding: a sum below 1
        groups, competitors, rows = h.shape
        won = (first + torch.arange(0, groups * competitors, competitors, device=h.device)[:, None]).mul_(rows)
        won = won.add_(torch.arange(rows, device=h.device)).flatten()  # places in h, flat: four times as fast
        y = torch.zeros_like(h)
        values = h.view(-1).index_select(0, won)
        y.view(-1).index_copy_(0, won, values)
        units = (won // rows).view(groups, rows)
        ctx.save_for_backward(h, p, won, values)
        ctx.mark_non_differentiable(units)
        ctx.temperature = temperature
        return y, p.mean(2), values.view(groups, rows), units

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        (G, c, of_values, _), (h, p, won, values), tau = given, ctx.saved_tensors, ctx.temperature
        c, of_values = c[:, :, None] / h.shape[2], of_values.flatten()
        moved = G * h
        moved.view(-1).index_add_(0, won, of_values * values)
        if tau == 1:
            moved.add_(c).mul_(p)
            found = moved.addcmul_(p, moved.sum(1, keepdim=True), value=-1)
        else:
            m = (h / tau).softmax(1)
            moved.mul_(m)
            found = moved.addcmul_(m, moved.sum(1, keepdim=True), value=-1).div_(tau)
            moved = p * c
            found += moved.addcmul_(p, moved.sum(1, keepdim=True), value=-1)
        found.view(-1).index_add_(0, won, of_values + G.reshape(-1).index_select(0, won))
        return found, None, None, None
