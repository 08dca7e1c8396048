"""What a run writes into its folder: a row of metrics an epoch, checkpoints to go on from, every generator's state."""

import csv
import random
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from competition_layers import load_noise_state, noise_state
from competition_layers.files import write_file


def run_callbacks(run: Path) -> list[Callback]:
    """The callbacks of every run."""
    return [
        GeneratorStates(),
        FiniteLoss(),
        MetricsTable(run / "metrics.csv"),
        ModelCheckpoint(
            run / "checkpoints", filename="{epoch}", save_last=True, save_top_k=1, enable_version_counter=False
        ),
    ]


def run_loggers(run: Path) -> list[Logger] | bool:
    """TensorBoard when installed; metrics.csv is always written, by `MetricsTable`."""
    return [TensorBoardLogger(run, name="tensorboard", version="")] if find_spec("tensorboard") else False


class MetricsTable(Callback):
    """One row an epoch in a CSV file, written whole each time; a resumed run goes on where its checkpoint stood."""

    def __init__(self, path: Path):
        self.path = path
        self.started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {name: f"{float(value):.6g}" for name, value in sorted(trainer.callback_metrics.items())}
        metrics = {name.removesuffix("_epoch"): value for name, value in metrics.items() if not name.endswith("_step")}
        row = {
            "epoch": str(trainer.current_epoch),
            "step": str(trainer.global_step),
            "seconds": f"{time.perf_counter() - self.started:.2f}",
            **metrics,
        }
        rows = [old for old in read_metrics(self.path) if int(old["epoch"]) < trainer.current_epoch]
        rows.append(row)
        columns = list(dict.fromkeys(name for each in rows for name in each))
        with write_file(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class GeneratorStates(Callback):
    """Every generator's state travels in the checkpoint: python's, numpy's, torch's, and the competitions' noise."""

    def __init__(self):
        self.restored: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        kind, keys, *rest = np.random.get_state()
        checkpoint["generators"] = {
            "python": random.getstate(),
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "torch": torch.get_rng_state(),
            "accelerators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "noise": noise_state(pl_module.model),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.restored = checkpoint.get("generators")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # here and not earlier: setting a run up draws numbers too
        if self.restored is None:
            return
        state, self.restored = self.restored, None
        kind, keys, *rest = state["numpy"]
        version, inner, gauss = state["python"]
        random.setstate((version, tuple(inner), gauss))
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"])
        if state["accelerators"]:
            torch.cuda.set_rng_state_all(state["accelerators"])
        load_noise_state(pl_module.model, state["noise"])


class FiniteLoss(Callback):
    """Stop at a loss that is not finite, and say where."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % 50 and batch_idx + 1 < trainer.num_training_batches:
            return  # looking at a number makes a GPU wait
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"Expected a finite loss but got {float(loss)} at step {trainer.global_step} (epoch "
                f"{trainer.current_epoch}); lower --model.lr, add --trainer.gradient_clip_val 1, or train in 32 bits"
            )
