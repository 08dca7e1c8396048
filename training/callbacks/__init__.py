"""What happens around every run: each idea a file."""

from collections.abc import Sequence

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from ..run_folder import Run
from .batch_norm import BatchNormStatistics
from .competition_table import CompetitionTable
from .finite_loss import FiniteLoss
from .generators import Generators
from .metrics_table import MetricsTable
from .model_folder import ModelFolder, averaging
from .run_start import RunStart

__all__ = ["averaging", "run_callbacks"]


def run_callbacks(
    run: Run, config: str, *, further: Sequence[Callback] = (), checkpoints: bool = True
) -> list[Callback]:
    """The callbacks of every run; `further` ones (an average of the weights) come first, so that ours see their work.

    Args:
        config: the run's options as YAML.
    """
    folder = run.path
    return [
        *further,
        *([] if run.resume else [RunStart(folder, config)]),
        Generators(),
        FiniteLoss(),
        *([BatchNormStatistics(run.reestimate_batch_norm)] if run.reestimate_batch_norm else []),
        MetricsTable(folder / "metrics.csv"),
        CompetitionTable(folder),
        ModelFolder(folder / "model"),
        # one file, at the end of an epoch: there a resumed run can go on digit for digit
        *(
            [
                ModelCheckpoint(
                    folder / "checkpoints",
                    filename="last",
                    enable_version_counter=False,
                    save_on_train_epoch_end=True,
                )
            ]
            if checkpoints
            else []
        ),
    ]
