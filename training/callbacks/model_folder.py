"""The run's model folder, written after every epoch: a run that is killed leaves a network that loads."""

from pathlib import Path
from typing import cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn

from competition_layers import save_model


class ModelFolder(Callback):
    """Writes the network as it stands, averaged where weights are averaged; `train` writes the final one."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            averages = averaging(trainer)
            network = pl_module.model if averages is None else averages.model
            save_model(
                pl_module.model,
                self.folder,
                state_dict=cast(nn.Module, network).state_dict(),
                averaged_weights=averages is not None,
                training={"epochs": trainer.current_epoch + 1, "finished": False},
            )


def averaging(trainer: Trainer) -> LightningModule | None:
    """The copy of the module that holds averaged weights, where a callback of Lightning's averages them."""
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAveraging):
            return callback._average_model.module  # Lightning offers no public way to it during training
    return None
