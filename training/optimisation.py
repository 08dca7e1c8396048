"""timm's optimisers and schedules, by name, in the words of Lightning."""

from collections.abc import Mapping
from typing import Any

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn


def optimisation(
    model: nn.Module, optimizer: Mapping[str, Any], schedule: Mapping[str, Any], *, epochs: int, updates: int
) -> dict[str, Any]:
    """What `configure_optimizers` returns: the schedule is stepped at every update; `plateau`, by epoch.

    Args:
        optimizer: `opt`, `lr`, `weight_decay` and what else `timm.optim.create_optimizer_v2` takes.
        schedule: `sched`, `warmup_epochs` and what else `timm.scheduler.create_scheduler_v2` takes.
        updates: steps of the optimiser in an epoch.
    """
    made = create_optimizer_v2(model, **optimizer)
    by_epoch = schedule["sched"] == "plateau"
    scheduler, _ = create_scheduler_v2(
        made, num_epochs=epochs, step_on_epochs=by_epoch, updates_per_epoch=updates, **schedule
    )
    if scheduler is None:
        return {"optimizer": made}
    if by_epoch:
        how = {"interval": "epoch", "monitor": "val_accuracy", "reduce_on_plateau": True}
    else:
        how = {"interval": "step"}
    return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, **how}}


def step_schedule(scheduler: Any, metric: Any, *, epoch: int, step: int) -> None:
    """After an update, or after an epoch where there is a `metric`: timm's schedules count by themselves."""
    if metric is None:
        scheduler.step_update(num_updates=step)
    else:
        scheduler.step(epoch + 1, float(metric))
