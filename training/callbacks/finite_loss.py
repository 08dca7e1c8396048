"""Stop at a loss that is not finite, and say where."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

_EVERY = 50  # steps between two looks: looking at a number makes an accelerator wait


class FiniteLoss(Callback):
    """Remembers the first step whose loss was not finite, on the device; looks at it now and then."""

    def __init__(self):
        self.first_bad: torch.Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach()
        if self.first_bad is None:
            self.first_bad = torch.full_like(loss, torch.inf, dtype=torch.float64)
        bad = torch.where(loss.isfinite(), torch.inf, float(trainer.global_step))
        self.first_bad = torch.minimum(self.first_bad, bad.to(self.first_bad))
        last = batch_idx + 1 == trainer.num_training_batches
        if loss.device.type != "cpu" and trainer.global_step % _EVERY and not last:
            return
        if self.first_bad.isfinite():
            raise ValueError(
                f"Expected a finite loss but got {float(loss)} at step {int(self.first_bad)} (epoch "
                f"{trainer.current_epoch}); lower --model.optimizer.lr, lengthen its warmup_epochs, clip with "
                "--trainer.gradient_clip_val 1, or train with --trainer.precision 32"
            )
