"""timm's optimisers and schedules, by name, in the words of Lightning."""

from typing import Any

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn

from .options import Optimizer


def optimisation(model: nn.Module, options: Optimizer, *, epochs: int, updates: int) -> dict[str, Any]:
    """What `configure_optimizers` returns; the schedule counts updates, not epochs.

    Args:
        updates: steps of the optimiser in an epoch.

    Raises:
        ValueError: further arguments that the optimiser or the schedule does not take.
    """
    try:
        made = create_optimizer_v2(
            model, opt=options.opt, lr=options.lr, weight_decay=options.weight_decay, **options.opt_args
        )
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"Expected optimizer.opt_args that {options.opt!r} takes but got {options.opt_args}: {error}"
        ) from error
    try:
        scheduler, _ = create_scheduler_v2(
            made,
            sched=options.sched,
            num_epochs=epochs,
            warmup_epochs=options.warmup_epochs,
            warmup_lr=options.warmup_lr,
            min_lr=options.min_lr,
            step_on_epochs=False,
            updates_per_epoch=updates,
            **options.sched_args,
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(
            f"Expected optimizer.sched_args that {options.sched!r} takes but got {options.sched_args}: {error}"
        ) from error
    if options.sched == "none":
        return {"optimizer": made}
    if scheduler is None:
        raise ValueError(f"Expected a schedule that the installed timm knows but got {options.sched!r}; update timm")
    return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
