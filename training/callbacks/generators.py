"""Every generator's state travels in the checkpoint, of every process."""

import random
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import distributed

from competition_layers import load_noise_state, noise_state

from ..quiet import print_once


class Generators(Callback):
    """Python's, numpy's, torch's, the accelerator's and the competitions' random numbers go on where they stopped.

    Order and augmentation of the images need none of it: they are functions of (seed, epoch, image).
    """

    def __init__(self):
        self.restored: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["generators"] = _of_every_process(_state(pl_module))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        states, processes = checkpoint["generators"], trainer.world_size
        if len(states) != processes:
            print_once(
                f"The run goes on in {processes} processes, so far in {len(states)}: a step sees {processes} x "
                "batch_size images, and the digits are not those of an uninterrupted run"
            )
        if trainer.global_rank < len(states):  # a further process starts from the run's seed and its rank
            self.restored = states[trainer.global_rank]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # here and not earlier: setting a run up draws numbers too
        if self.restored is not None:
            _restore(pl_module, self.restored)
            self.restored = None


def _state(pl_module: LightningModule) -> dict[str, Any]:
    # numbers and tensors only: a checkpoint is read without unpickling objects
    kind, keys, *rest = cast(tuple, np.random.get_state())
    return {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "accelerator": torch.cuda.get_rng_state() if pl_module.device.type == "cuda" else None,
        "noise": noise_state(pl_module.model),
    }


def _restore(pl_module: LightningModule, state: dict[str, Any]) -> None:
    version, inner, gauss = state["python"]
    random.setstate((version, tuple(inner), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["accelerator"] is not None and pl_module.device.type == "cuda":
        torch.cuda.set_rng_state(state["accelerator"])
    load_noise_state(pl_module.model, state["noise"])


def _of_every_process(state: dict[str, Any]) -> list[dict[str, Any]]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return [state]
    states: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(states, state)
    return states
