"""MILAN's own language prior, for whoever asks how likely phrases are whatever is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .saving import MilanModel
from .words import PAD


@dataclass(frozen=True)
class TaughtPrior:
    """A `LanguagePrior`: the LSTM of a trained MILAN. A word that it was not taught counts as an unknown one."""

    model: MilanModel

    @property
    def identity(self) -> str:
        return f"MILAN's prior {self.model.fingerprint}"

    @torch.no_grad()
    def log_probabilities(self, phrases: Sequence[str]) -> Float[Tensor, "phrases"]:
        """Summed over the words of each phrase and its end."""
        rows = self.model.words.encode(phrases)
        return (self.model.prior(rows) * (rows != PAD)).sum(1)
