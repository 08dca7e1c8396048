"""What happens around every run: each idea a file."""

from collections.abc import Sequence
from pathlib import Path

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from .batch_norm import BatchNormStatistics
from .competition_table import CompetitionTable
from .finite_loss import FiniteLoss
from .generators import Generators
from .metrics_table import MetricsTable, read_metrics
from .model_folder import ModelFolder, averaging
from .run_start import RunStart

__all__ = ["averaging", "read_metrics", "run_callbacks"]


def run_callbacks(
    run: Path, *, config: str | None, further: Sequence[Callback] = (), reestimate: int = 0
) -> list[Callback]:
    """The callbacks of every run; `further` ones (an average of the weights) come first, so that ours see their work.

    Args:
        config: of a new run, as YAML; None resumes one.
        reestimate: so many batches re-estimate the batch-norm statistics before the network is looked at; 0 for none.
    """
    return [
        *further,
        *([RunStart(run, config)] if config is not None else []),
        Generators(),
        FiniteLoss(),
        *([BatchNormStatistics(reestimate)] if reestimate else []),
        MetricsTable(run / "metrics.csv"),
        CompetitionTable(run),
        ModelFolder(run / "model"),
        # one file, at the end of an epoch: there a resumed run can go on digit for digit
        ModelCheckpoint(
            run / "checkpoints", filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
