"""What happens around every run: each idea a file."""

from collections.abc import Sequence
from pathlib import Path

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from .batch_norm import BatchNormStatistics
from .finite_loss import FiniteLoss
from .generators import Generators
from .metrics_table import MetricsTable, read_metrics
from .model_folder import ModelFolder, averaging

__all__ = ["averaging", "read_metrics", "run_callbacks"]


def run_callbacks(run: Path, *, further: Sequence[Callback] = (), reestimate: int = 0) -> list[Callback]:
    """The callbacks of every run; `further` ones (an average of the weights) come first, so that ours see their work.

    Args:
        reestimate: so many batches re-estimate the batch-norm statistics before the network is looked at; 0 for none.
    """
    return [
        *further,
        Generators(),
        FiniteLoss(),
        *([BatchNormStatistics(reestimate)] if reestimate else []),
        MetricsTable(run / "metrics.csv"),
        ModelFolder(run / "model"),
        # one file, at the end of an epoch: there a resumed run can go on digit for digit
        ModelCheckpoint(
            run / "checkpoints", filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
