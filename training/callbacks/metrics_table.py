"""metrics.csv: one row an epoch."""

import time
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from ..tables import add_epoch


class MetricsTable(Callback):
    """One row an epoch, the file written whole each time; a resumed run goes on where its checkpoint stood."""

    def __init__(self, path: Path):
        self.path = path
        self.started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {name: f"{float(value):.6g}" for name, value in sorted(trainer.callback_metrics.items())}
        row = {
            "step": str(trainer.global_step),
            "seconds": f"{time.perf_counter() - self.started:.2f}",
            "lr": f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}",
            **{name: value for name, value in metrics.items() if name != "loss"},  # the last step's, for the bar
        }
        add_epoch(self.path, trainer.current_epoch, [row])
