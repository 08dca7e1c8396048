"""The folder of a run: what a new start may replace, and that one command at a time works in it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from competition_layers.checks import check_number
from competition_layers.files import alone

from .options_file import read_options

_LOCK = ".lock"
# what a command that was killed while it set a run up may have left: no run yet
_BEFORE_A_RUN = {_LOCK, f"{_LOCK}.by", "tensorboard"}


@dataclass(frozen=True)
class Run:
    """Where and how `fit` runs.

    Args:
        folder: of the run; it appears with the first step.
        seed: of order, augmentation, weights and noise.
        reestimate_batch_norm: so many training batches re-estimate batch-norm statistics under the inference rule.
        resume: go on with the run where its last checkpoint stands.
        overwrite: start the run anew where there is one.
    """

    folder: str | Path
    seed: int = 0
    reestimate_batch_norm: int = 0
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self):
        check_number("seed", self.seed, least=0, most=2**32 - 1)
        check_number("reestimate_batch_norm", self.reestimate_batch_norm, least=0)
        if self.resume and self.overwrite:
            raise ValueError("Expected resume or overwrite but got both")

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    def check(self) -> None:
        """Keep what is there from being replaced unasked, and what is no run from being replaced at all.

        Raises:
            FileExistsError: a run with a checkpoint or a model, and neither `resume` nor `overwrite`; something else
                than a run.
            FileNotFoundError: nothing to resume.
        """
        if self.resume:
            if not self.checkpoint.is_file():
                raise FileNotFoundError(
                    f"Expected a checkpoint to resume from but got none at {str(self.checkpoint)!r}"
                )
            return
        if not self.path.exists() or {path.name for path in self.path.iterdir()} <= _BEFORE_A_RUN:
            return
        if not is_run(self.path):
            raise FileExistsError(
                f"Expected a new name for the run but {str(self.path)!r} holds something else than a run, which is not "
                "replaced: choose another --run"
            )
        if not self.overwrite and (self.checkpoint.exists() or (self.path / "model").exists()):
            raise FileExistsError(
                f"Expected a new run but {str(self.path)!r} exists; --resume goes on with it, --overwrite starts it "
                "anew"
            )


def is_run(folder: Path) -> bool:
    """Whether `fit` made this folder: its config.yaml is a run's, and a model folder in it is ours."""
    try:
        config = read_options(folder / "config.yaml")
        model = folder / "model"
        ours = not model.exists() or "competition" in json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return ours and {"model", "data", "trainer"} <= config.keys()


@contextmanager
def claimed(run: Run) -> Iterator[None]:
    """Inside the block no other command trains in the run's folder; what was no run at its end leaves nothing behind.

    Raises:
        FileExistsError: another command does; and as `Run.check`.
    """
    if rank_zero_only.rank:  # the first process has it
        yield
        return
    run.check()
    made = [path for path in (run.path, *run.path.parents) if not path.exists()]
    run.path.mkdir(parents=True, exist_ok=True)
    with alone(
        run.path / _LOCK,
        lambda who: f"Expected a run that no other command works on but {who} trains in {str(run.path)!r} right now",
    ):
        try:
            run.check()  # once more: another command may have finished meanwhile
            yield
        finally:
            if made and not (run.path / "config.yaml").exists():
                shutil.rmtree(run.path, ignore_errors=True)
                with suppress(OSError):  # others may have put something there
                    for path in made[1:]:
                        path.rmdir()
            (run.path / _LOCK).unlink(missing_ok=True)
