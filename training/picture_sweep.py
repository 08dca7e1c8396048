"""A sweep with the options of a run: the features of its pictures, then every setting on them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from competition_layers import DecisionLayer

from .classifier import Classifier
from .data import ImageData
from .decision.feature_data import FeatureData
from .decision.fitting import Fitting
from .decision.sweep import SweepRow, sweep
from .run import make_trainer

USUAL = "32/16,64/16,80/16,96/16,128/16,160/16,192/16,256/16"


def settings_of(text: str, decision: DecisionLayer) -> list[DecisionLayer]:
    """`UNITS/COMPETITORS,...` as layers; what is not named is as in `decision`.

    >>> [d.groups for d in settings_of("64/32, 128/32", DecisionLayer())]
    [2, 4]

    Raises:
        ValueError: no such list, one setting twice, or numbers that do not go together.
    """
    settings = []
    for part in text.split(","):
        numbers = part.strip().split("/")
        if len(numbers) != 2 or not all(number.strip().isdecimal() for number in numbers):
            raise ValueError(f"Expected --sweep UNITS/COMPETITORS,... such as {USUAL} but got {text!r}")
        settings.append(replace(decision, units=int(numbers[0]), competitors=int(numbers[1])))
        if settings[-1] in settings[:-1]:
            raise ValueError(f"Expected settings of --sweep that differ but got {part.strip()} twice; leave one out")
    return settings


def sweep_pictures(
    classifier: Classifier,
    data: ImageData,
    decisions: Sequence[DecisionLayer],
    *,
    features: Path,
    epochs: int,
    options: Mapping[str, Any],
) -> list[SweepRow]:
    """Fit every setting on the features of `data`'s training pictures, read each on the validation pictures.

    Args:
        classifier: says the backbone, its weights, the optimiser's rate and decay, the loss.
        features: the folder of stored features; those that are there are not computed again.
        options: of Lightning's Trainer.

    Raises:
        ValueError: a classifier that does not train a decision layer alone.
    """
    if not classifier.trains_decision:
        raise ValueError(
            "Expected --model.train decision with --sweep: settings share the features of a frozen backbone"
        )
    classifier.prepare()
    fitting = Fitting(
        epochs=epochs,
        batch_size=data.loading.batch_size,
        lr=classifier.optimizer.lr,
        weight_decay=classifier.optimizer.weight_decay,
        label_smoothing=classifier.objective.label_smoothing,
        seed=torch.initial_seed() % 2**31,
    )
    read = _Read()
    silent = {"max_epochs": 0, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = make_trainer({**options, **silent, "callbacks": [read]})
    trainer.fit(classifier, datamodule=FeatureData(data, features, views=classifier.views))
    return sweep(*read.splits, decisions, fitting=fitting)


class _Read(Callback):
    """Takes the features when pictures are open and the network is built."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.splits = data.whole("train"), data.whole("val")
