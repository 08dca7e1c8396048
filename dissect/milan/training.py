"""Trains MILAN's decoder and prior on units whose descriptions are known."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from .decoder import HIDDEN, Decoder, Prior
from .words import PAD, Words

EPOCHS, PATIENCE, HELD_OUT = 100, 4, 0.1
DECODER_BATCH, PRIOR_BATCH = 64, 128  # descriptions


@dataclass(frozen=True)
class Annotated:
    """One unit: the features of its exemplars, and what people (or a painter) say of it."""

    features: Float[Tensor, "exemplars dim"]
    descriptions: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """A trained model, and its losses (nats a description, on the units held out) epoch by epoch."""

    words: Words
    decoder: Decoder
    prior: Prior
    decoder_losses: tuple[float, ...]
    prior_losses: tuple[float, ...]


def train_milan(units: Sequence[Annotated], *, epochs: int = EPOCHS, hidden: int = HIDDEN, seed: int = 0) -> Trained:
    """Train both; a tenth of the units is held out of both, with all their descriptions.

    AdamW, batches of 64 descriptions (128 of the prior); the decoder's loss has the doubly stochastic attention term of
    Xu et al. (2015, eq. 14). An epoch without progress on the held-out units 4 times in a row is the last, and the
    weights are those of the best one. Published is a stop on greedy BLEU: of short descriptions it is 0, so the
    likelihood decides here.

    Raises:
        ValueError: fewer than 10 units.
    """
    if len(units) < 10:
        raise ValueError(f"Expected at least 10 annotated units, one of which is held out, but got {len(units)}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(units), generator=generator).tolist()
    held = max(1, round(HELD_OUT * len(units)))
    parts = [[units[i] for i in order[held:]], [units[i] for i in order[:held]]]
    words = Words.of(description for unit in parts[0] for description in unit.descriptions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = Decoder(len(words.known), units[0].features.shape[1], hidden)
        prior = Prior(len(words.known), hidden)
        features, rows = zip(*(_flat(part, words) for part in parts), strict=True)

        def of_decoder(part: int, some: Tensor, *, regular: bool) -> Tensor:
            chances, attended = decoder(features[part][some], rows[part][some])
            counted = rows[part][some] != PAD
            loss = -(chances * counted).sum(1).mean()
            double = (1 - (attended * counted[:, :, None]).sum(1)).square().mean()
            return loss + double if regular else loss

        def of_prior(part: int, some: Tensor, *, regular: bool) -> Tensor:
            return -(prior(rows[part][some]) * (rows[part][some] != PAD)).sum(1).mean()

        sizes = len(rows[0]), len(rows[1])
        losses = [
            _fit(model, loss, sizes, epochs, batch)
            for model, loss, batch in ((decoder, of_decoder, DECODER_BATCH), (prior, of_prior, PRIOR_BATCH))
        ]
    return Trained(words, decoder.eval(), prior.eval(), losses[0], losses[1])


def _flat(units: Sequence[Annotated], words: Words) -> tuple[Tensor, Tensor]:
    """A row a description: the unit's features, and the words, as long as the longest."""
    pairs = [(unit.features, description) for unit in units for description in unit.descriptions]
    rows = words.encode([description for _, description in pairs])
    return torch.stack([features for features, _ in pairs]), rows[:, : int((rows != PAD).sum(1).max())]


def _fit(
    model: nn.Module, loss: Callable[..., Tensor], sizes: tuple[int, int], epochs: int, batch: int
) -> tuple[float, ...]:
    """Fit one network; afterwards its weights are those of its best epoch."""
    optimizer = torch.optim.AdamW(model.parameters())
    best: dict[str, Tensor] = {}
    losses: list[float] = []
    with tqdm(range(epochs), desc=type(model).__name__.lower(), unit="epoch", disable=None, leave=False) as steps:
        for _ in steps:
            model.train()
            for some in torch.randperm(sizes[0]).split(batch):
                optimizer.zero_grad()
                loss(0, some, regular=True).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                held = [float(loss(1, some, regular=False)) * len(some) for some in torch.arange(sizes[1]).split(batch)]
            losses.append(sum(held) / sizes[1])
            if losses[-1] == min(losses):
                best = copy.deepcopy(model.state_dict())  # a copy: the tensors of a state dict go on being trained
            if len(losses) - losses.index(min(losses)) > PATIENCE:
                break
    model.load_state_dict(best)
    return tuple(losses)
