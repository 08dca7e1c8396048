"""metrics.csv: one row an epoch."""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from competition_layers.files import write_file


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


def add_epoch(path: Path, epoch: int, new: Sequence[Mapping[str, str]]) -> None:
    """Put the rows of one epoch at the end of a table, which is written whole."""
    # rows after the checkpoint belong to what was lost when the run was stopped
    rows = [old for old in read_metrics(path) if int(old["epoch"]) < epoch]
    rows += [{"epoch": str(epoch), **row} for row in new]
    columns = list(dict.fromkeys(name for each in rows for name in each))
    with write_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a table with one or more rows an epoch; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
