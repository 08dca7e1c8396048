"""What a unit's top images say of each concept: the sum of log probabilities behind (soft-)WPMI."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .support import chunks, has_support, top_images

_MIN = 1e-7
_ROOM = 60.0  # a product of factors stays within e^-60 and e^60, so that fp32 holds it


class Constants(NamedTuple):
    """p_r falls from `first` (r = 0) towards `last` (r = `top`); `strength` is that of the prior."""

    top: int
    scale: float
    strength: float
    first: float
    last: float


@dataclass(frozen=True)
class Likelihood:
    """What the top images of each unit say of each concept, chunk by chunk.

    With c_r = 1 - p_r + 1e-7 a term of L is log(c_r + p_r s) = log c_r + log(1 + w_r s), w_r = p_r / c_r. The same
    terms for a concept as likely as any, s = 1/M, add up to `chance` (fp64). A chunk is L - chance: near 0, so fp32
    has room for it, from products of many factors and one logarithm.
    """

    images: Float[Tensor, "tops dim"]  # only those that are a top image of some unit, times the softmax's scale
    concepts: Float[Tensor, "concepts dim"]
    order: Int[Tensor, "ranks units"]  # which row of `images`; the row after the last where a unit has no more
    weights: tuple[float, ...]  # w_r
    counts: Int[Tensor, "units"]  # how many top images there are
    share: Float[Tensor, "units"]  # of those that it could have had
    chance: Float[Tensor, "units"]
    full_chance: float
    supported: Bool[Tensor, "units"]

    @classmethod
    def of(
        cls, constants: Constants, activations: Tensor, images: Tensor, concepts: Tensor, won: Tensor | None
    ) -> "Likelihood":
        top, scale, _, first, last = constants
        order, counts = top_images(activations, won, top, images)
        rank = torch.arange(len(order), dtype=torch.float64, device=order.device)
        inside = first - rank / top * (first - last)
        outside = 1 - inside + _MIN
        by_count = _sums((outside + inside / len(concepts)).log())
        rows, order = order.unique(return_inverse=True)
        return cls(
            images=images[rows].float().mul_(scale),
            concepts=concepts,
            order=order.masked_fill_(rank[:, None] >= counts, len(rows)),
            weights=tuple((inside / outside).tolist()),
            counts=counts,
            share=counts.double() / len(order),
            chance=by_count[counts],
            full_chance=by_count[-1].item(),
            supported=has_support(activations, won),
        )

    def chunks(self) -> Iterator[tuple[slice, Float[Tensor, "units chunk"]]]:
        """L - chance, for a slice of the concepts; the next chunk is written over it."""
        s, evidence, product, picked = (self.images.new_empty(0) for _ in range(4))  # pages fresh for each cost time
        total = torch.full((len(self.images),), -torch.inf, device=self.images.device)
        for _, concepts in chunks(self.concepts, rows=len(self.images)):  # one pass for the softmax's normaliser
            torch.mm(self.images, concepts.T, out=s.resize_(len(self.images), len(concepts)))
            most = s.amax(1)
            total = torch.logaddexp(total, s.sub_(most[:, None]).exp_().sum(1).log_().add_(most))
        even_growth = _sums((total.new_tensor(self.weights, dtype=torch.float64) / len(self.concepts)).log1p())
        units = self.order.shape[1]
        for where, concepts in chunks(self.concepts, rows=2 * len(self.images) + 4 * units):
            s.resize_(len(self.images) + 1, len(concepts))[-1] = 0.0
            torch.mm(self.images, concepts.T, out=s[:-1]).sub_(total[:, None]).exp_()
            for room in (evidence, product, picked):
                room.resize_(units, len(concepts))
            evidence.zero_()
            for ranks in self._runs(s.max().item()):
                expected = (
                    even_growth[self.counts.clamp(max=ranks.stop)] - even_growth[self.counts.clamp(max=ranks.start)]
                )
                product.copy_(expected.neg().exp()[:, None])
                for r in ranks:
                    torch.index_select(s, 0, self.order[r], out=picked)
                    product.addcmul_(product, picked, value=self.weights[r])
                evidence += product.log_()
            yield where, evidence

    def _runs(self, largest: float) -> Iterator[range]:
        """Ranks whose factors 1 + w s, s up to `largest`, may be multiplied before a logarithm is due."""
        start, used = 0, 0.0
        for rank, weight in enumerate(self.weights):
            growth = math.log1p(weight * largest)
            if rank > start and used + growth > _ROOM:
                yield range(start, rank)
                start, used = rank, 0.0
            used += growth
        yield range(start, len(self.weights))

    def prior(self, chunk: Float[Tensor, "units chunk"]) -> Float[Tensor, "chunk"]:
        """logsumexp over the units of L / share, less log of their number, in fp64; 0 where no unit supported."""
        if not self.supported.any():
            return self.share.new_zeros(chunk.shape[1])
        share = self.share.where(self.supported, 1.0)
        shift = (self.chance / share - self.full_chance).where(self.supported, -torch.inf)
        found = (chunk / share.float()[:, None]).add_(shift.float()[:, None]).logsumexp(0)
        return found.double() - self.supported.sum().double().log() + self.full_chance


def _sums(terms: Float[Tensor, "ranks"]) -> Float[Tensor, "ranks+1"]:
    """Of the first 0, 1, 2, ... terms."""
    return torch.cat([terms.new_zeros(1), terms.cumsum(0)])
