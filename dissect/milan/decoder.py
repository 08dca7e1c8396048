"""p(description | exemplars): an LSTM that attends to a unit's exemplars (Hernandez et al. 2022; Xu et al. 2015)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .words import PAD, START

EMBEDDED, HIDDEN, DROPOUT = 128, 512, 0.5


class Seen(NamedTuple):
    """Features (units, exemplars, dim) and what attention makes of them, once for all words."""

    features: Tensor
    keys: Tensor


class State(NamedTuple):
    """Hidden and cell state of an LSTM, one row a description that is being written."""

    hidden: Tensor
    cell: Tensor


class Decoder(nn.Module):
    """Show, attend and tell: additive attention over the exemplars' features, a sigmoid gate on what was attended to,
    an LSTM cell on the last word and that.

    Args:
        words: how many. dim: of a feature. hidden: of the LSTM.
    """

    def __init__(self, words: int, dim: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        attention = min(hidden, dim)
        self.embed = nn.Embedding(words, EMBEDDED, padding_idx=PAD)
        self.of_feature, self.of_hidden = nn.Linear(dim, attention), nn.Linear(hidden, attention)
        self.weight, self.gate = nn.Linear(attention, 1), nn.Linear(hidden, dim)
        self.begin_hidden, self.begin_cell = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.cell, self.out = nn.LSTMCell(EMBEDDED + dim, hidden), nn.Linear(hidden, words)
        self.dropout = nn.Dropout(DROPOUT)

    def look(self, features: Float[Tensor, "units exemplars dim"]) -> Seen:
        """What every step looks at."""
        return Seen(features, self.of_feature(features))

    def begin(self, seen: Seen) -> State:
        """The state before the first word: from the mean feature."""
        mean = seen.features.mean(1)
        return State(self.begin_hidden(mean).tanh(), self.begin_cell(mean).tanh())

    def step(
        self, seen: Seen, last: Int[Tensor, "units"], state: State
    ) -> tuple[Float[Tensor, "units words"], Float[Tensor, "units exemplars"], State]:
        """Log-probabilities of the next word, what was attended to, and the next state."""
        mixed = (seen.keys + self.of_hidden(state.hidden)[:, None]).tanh()
        attention = self.weight(mixed)[:, :, 0].softmax(1)
        attended = (attention[:, None] @ seen.features)[:, 0] * self.gate(state.hidden).sigmoid()
        hidden, cell = self.cell(torch.cat([self.embed(last), attended], 1), (state.hidden, state.cell))
        return self.out(self.dropout(hidden)).log_softmax(1), attention, State(hidden, cell)

    def forward(
        self, features: Float[Tensor, "units exemplars dim"], rows: Int[Tensor, "units longest"]
    ) -> tuple[Float[Tensor, "units longest"], Float[Tensor, "units longest exemplars"]]:
        """Log-probability of each word of given rows, and the attention at each."""
        seen = self.look(features)
        state, last = self.begin(seen), torch.full_like(rows[:, 0], START)
        chances, attended = [], []
        for word in rows.T:
            log_probabilities, attention, state = self.step(seen, last, state)
            chances.append(log_probabilities.gather(1, word[:, None])[:, 0])
            attended.append(attention)
            last = word
        return torch.stack(chances, 1), torch.stack(attended, 1)


class Prior(nn.Module):
    """p(description): an LSTM of two layers over the words alone.

    Args:
        words: how many. hidden: of each layer.
    """

    def __init__(self, words: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, EMBEDDED, padding_idx=PAD)
        self.lstm = nn.LSTM(EMBEDDED, hidden, num_layers=2, dropout=DROPOUT, batch_first=True)
        self.out = nn.Linear(hidden, words)

    def forward(self, rows: Int[Tensor, "descriptions longest"]) -> Float[Tensor, "descriptions longest"]:
        """Log-probability of each word of given rows."""
        before = torch.cat([torch.full_like(rows[:, :1], START), rows[:, :-1]], 1)
        log_probabilities = self.out(self.lstm(self.embed(before))[0]).log_softmax(2)
        return log_probabilities.gather(2, rows[:, :, None])[:, :, 0]
