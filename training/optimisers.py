"""timm's optimisers and schedules, by name, in the words of Lightning."""

from collections.abc import Mapping
from typing import Any

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn


def optimisation(
    model: nn.Module, optimizer: Mapping[str, Any], schedule: Mapping[str, Any], *, epochs: int, updates: int
) -> dict[str, Any]:
    """What `configure_optimizers` returns; the schedule counts updates, not epochs.

    Args:
        optimizer: `opt`, `lr`, `weight_decay` and what else `timm.optim.create_optimizer_v2` takes.
        schedule: `sched`, `warmup_epochs` and what else `timm.scheduler.create_scheduler_v2` takes.
        updates: steps of the optimiser in an epoch.
    """
    if schedule["sched"] == "plateau":
        raise ValueError("Expected a schedule by time but got 'plateau', whose state no checkpoint holds")
    made = create_optimizer_v2(model, **optimizer)
    scheduler, _ = create_scheduler_v2(
        made, num_epochs=epochs, step_on_epochs=False, updates_per_epoch=updates, **schedule
    )
    if scheduler is None:
        return {"optimizer": made}
    return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
