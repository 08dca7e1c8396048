"""The most likely descriptions by beam search, ranked again by pointwise mutual information."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .decoder import Decoder, Prior, State
from .words import LONGEST, PAD, START, STOP, UNKNOWN

BEAM = 50
WEIGHT = 0.2  # lambda of the prior: wpmi = log p(d|E) - lambda log p(d)


@torch.no_grad()
def beam_search(
    decoder: Decoder, features: Float[Tensor, "exemplars dim"], *, beam: int = BEAM
) -> tuple[Int[Tensor, "found longest"], Float[Tensor, "found"]]:
    """The rows that the beam finds for one unit, the most likely first, and log p(row | exemplars) of each."""
    seen = decoder.look(features[None])
    state = decoder.begin(seen)
    rows = torch.full((1, LONGEST), PAD)
    scores, last, done = torch.zeros(1), torch.tensor([START]), torch.tensor([False])
    for at in range(LONGEST):
        chances, _, state = decoder.step(seen, last, state)
        chances[:, [PAD, START, UNKNOWN]] = -torch.inf
        if at == LONGEST - 1:  # the last token is a stop
            chances[:, STOP + 1 :] = -torch.inf
        ended = torch.full_like(chances, -torch.inf)
        ended[:, PAD] = 0.0  # what has ended goes on as it is
        total = scores[:, None] + torch.where(done[:, None], ended, chances)
        scores, flat = total.flatten().topk(min(beam, int(total.isfinite().sum())))
        of, last = flat // total.shape[1], flat % total.shape[1]
        rows = rows[of]
        rows[:, at] = last
        done = done[of] | (last == STOP)
        state = State(state.hidden[of], state.cell[of])
        if bool(done.all()):
            break
    return rows, scores


@torch.no_grad()
def rerank(
    prior: Prior, rows: Int[Tensor, "found longest"], scores: Float[Tensor, "found"], *, weight: float = WEIGHT
) -> tuple[Int[Tensor, "found longest"], Float[Tensor, "found"]]:
    """The same rows by log p(d | E) - weight log p(d), the best first."""
    likely = (prior(rows) * (rows != PAD)).sum(1)
    found, order = (scores - weight * likely).sort(descending=True, stable=True)
    return rows[order], found
