"""The run folder appears with the first step: what fails while a run is set up leaves nothing behind."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from competition_layers.files import write_file

# of a run that is overwritten; what else lies in its folder (a dissection) is left alone
_OF_A_RUN = (
    "resumed.yaml",
    "metrics.csv",
    "competition.csv",
    "competition.svg",
    "checkpoints/last.ckpt",
    "test.json",
    "validate.json",
    "predictions.csv",
)


class RunStart(Callback):
    """Writes `config.yaml` once, before the first step; a resumed run keeps its own."""

    def __init__(self, run: Path, config: str):
        self.run, self.config = run, config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        for name in _OF_A_RUN:
            (self.run / name).unlink(missing_ok=True)
        with write_file(self.run / "config.yaml") as temporary:
            temporary.write_text(self.config, encoding="utf-8")
