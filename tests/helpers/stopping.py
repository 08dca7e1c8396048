"""A training run that is stopped from outside."""

from lightning.pytorch import Callback


class StoppedError(Exception):
    """The run is stopped from outside."""


class StopAt(Callback):
    """Ends a run as epoch number `epoch` starts."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise StoppedError
