"""A judge that reads no text: how much of a phrase another network's features hold, by ridge regression.

Of painted pictures it is known which phrases hold. From the features of a network that is not the judged one (its
stages' means), each phrase's presence is fitted on pictures that the judged network never saw; on the probe, that fit
is the phrase's score. It shares nothing with the CLIP that gave the names but the painter.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from competition_layers import load_model
from dissect import open_probe, record_activations
from dissect.judging.bench import Evaluator
from lwta.scene_truth import scene_truth

STAGES = ["layer2", "layer3", "layer4"]
RIDGE = 0.1  # times the number of pictures


def readout(network: Path, taught: Path, probe: Path, phrases: Iterable[str]) -> Evaluator:
    """The judge: a network's run folder, a split of scenes to learn the phrases from, and the pictures to judge on."""
    model, pictures = load_model(network), open_probe(taught)
    known = {name: column.double() for name, column in scene_truth(taught, pictures.names, sorted(phrases)).items()}
    own = _features(model, taught)
    mean, spread = own.mean(0), own.std(0) + 1e-6
    x = (own - mean) / spread
    present = torch.stack([column.where(column >= 0, column[column >= 0].mean()) for column in known.values()], 1)
    gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = dict(zip(known, torch.linalg.solve(gram, x.T @ (present - present.mean(0))).T, strict=True))
    unread = torch.full((x.shape[1],), torch.nan, dtype=x.dtype)

    def texts(labels: Sequence[str]) -> Tensor:
        return torch.stack([weights.get(label, unread) for label in labels])

    return Evaluator(f"readout of {network}", (_features(model, probe) - mean) / spread, texts, own=False)


def _features(model: torch.nn.Module, folder: Path) -> Tensor:
    found = record_activations(model.eval(), open_probe(folder), STAGES, summaries=["mean"])
    return torch.cat([found[stage].summaries["mean"].double() for stage in STAGES], 1)
