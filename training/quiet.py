"""What a training run says: each line once, and without Lightning's advertisements and hints."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.rank_zero import rank_zero_only

_HINTS = (
    ".*does not have many workers.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*requested to overfit but enabled .* dataloader shuffling.*",
    ".*The dirpath has changed from .*checkpoints.*",  # of a run that was moved: one file, never the best of many
    ".*lr_scheduler.step.*before.*optimizer.step.*",  # timm's schedulers count updates themselves
    ".*isinstance.treespec, LeafSpec.* is deprecated.*",
    ".*GPU available but not used.*",
    ".*Your `IterableDataset` has `__len__` defined.*",  # timm's readers share out their shards
    ".*WeightAveraging callback with a model that overrides the configure_model.*",  # nothing of ours is sharded
)
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "lightning.fabric")


@contextmanager
def quietly() -> Iterator[None]:
    """Inside the block Lightning's tips are not printed; warnings and errors that matter are."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for hint in _HINTS:
                warnings.filterwarnings("ignore", message=hint)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@rank_zero_only
def print_once(line: str) -> None:
    """Print a line, from the first process alone."""
    print(line)
