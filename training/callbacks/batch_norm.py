"""Batch-norm statistics of the network as it is read out, not as it was trained."""

from collections.abc import Iterable
from itertools import islice

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from competition_layers import evaluating


class BatchNormStatistics(Callback):
    """Before each validation and at the end, statistics are taken anew from `batches` of training images.

    Under noise a network sees other activations than under its inference rule, and averaged weights see other ones than
    the weights that were averaged. Training itself never reads these statistics, so it goes on unchanged.
    """

    def __init__(self, batches: int):
        self.batches = batches

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.training or (trainer.validating and trainer.state.fn == "fit"):
            self._reestimate(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reestimate(trainer, pl_module)

    def _reestimate(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader = trainer.datamodule.train_dataloader()  # one of its own: the other may be in the middle of an epoch
        images = (images.to(pl_module.device) for images, _ in islice(loader, self.batches))
        with trainer.precision_plugin.val_step_context():
            reestimate_batch_norm(pl_module.model, images)


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Change `model` in place: batch-norm statistics become the mean over `batches` under the inference rule."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = {norm: norm.momentum for norm in norms}
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # a plain mean over the batches
        try:
            for images in batches:
                model.forward(images)
        finally:
            for norm, momentum in momenta.items():
                norm.momentum = momentum
