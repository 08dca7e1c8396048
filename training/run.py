"""Train into a run folder: the one path that the command, the demo and the benchmarks take."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn

from competition_layers import load_model, save_model

from .callbacks import read_metrics, run_callbacks
from .classifier import Classifier
from .configuration import configuration
from .data import ImageData
from .quiet import quietly

# of every run's Trainer, where nothing else was asked for
TRAINER_DEFAULTS: Mapping[str, Any] = {
    "use_distributed_sampler": False,  # ours knows the ranks, and what to augment how
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
}


def fit(
    classifier: Classifier,
    data: ImageData,
    *,
    run: str | Path,
    epochs: int,
    seed: int = 0,
    reestimate: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    trainer_args: Mapping[str, Any] | None = None,
) -> Path:
    """Train `classifier` on `data` for `epochs` into the folder `run`; returns it.

    Args:
        reestimate: so many training batches re-estimate the batch-norm statistics under the inference rule.
        resume: go on with the run where its last checkpoint stands.
        overwrite: start the run anew where there is one.
        trainer_args: go to Lightning's Trainer.

    Raises:
        FileExistsError: the folder is there already, and neither `resume` nor `overwrite` is set.
    """
    run, options = Path(run), dict(trainer_args or {})
    config = None
    if not resume:
        refuse_existing(run, overwrite=overwrite)
        asked = {"max_epochs": epochs, **options}
        config = configuration(classifier, data, seed=seed, reestimate=reestimate, trainer=asked)
    further = options.pop("callbacks", None) or []
    callbacks = run_callbacks(run, config=config, further=further, reestimate=reestimate)
    with quietly():
        seed_everything(seed, verbose=False)
        options = {**TRAINER_DEFAULTS, "logger": run_logger(run), "default_root_dir": str(run), **options}
        trainer = Trainer(max_epochs=epochs, callbacks=callbacks, **options)
        train(trainer, classifier, data, run=run, resume=resume)
    return run


@rank_zero_only
def refuse_existing(run: Path, *, overwrite: bool) -> None:
    """Keep a run from being written over unasked.

    Raises:
        FileExistsError: there is a folder with something in it, and `overwrite` is not set.
    """
    # Lightning opens its TensorBoard log while a run is still being set up
    if run.is_dir() and any(path.name != "tensorboard" for path in run.iterdir()) and not overwrite:
        raise FileExistsError(
            f"Expected a new run but {str(run)!r} exists; --resume goes on with it, --overwrite starts it anew"
        )


def run_logger(run: Path) -> Logger | bool:
    """TensorBoard when installed; metrics.csv is always written, by `MetricsTable`."""
    return TensorBoardLogger(run, name="tensorboard", version="") if find_spec("tensorboard") else False


def train(trainer: Trainer, classifier: Classifier, data: ImageData, *, run: Path, resume: bool = False) -> None:
    """Fit, report the validation accuracies by every rule, and write the model folder."""
    checkpoint = run / "checkpoints" / "last.ckpt"
    if resume and not checkpoint.is_file():
        raise FileNotFoundError(f"Expected a checkpoint to resume from but got none at {str(checkpoint)!r}")
    classifier.open_dense()
    trainer.fit(classifier, datamodule=data, ckpt_path=str(checkpoint) if resume else None, weights_only=True)
    results = trainer.validate(classifier, datamodule=data, verbose=False)[0]
    if trainer.is_global_zero:
        seconds = sum(float(row["seconds"]) for row in read_metrics(run / "metrics.csv"))
        converting = classifier.converting
        save_model(
            classifier.model,
            run / "model",
            averaged_weights=any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks),
            training={
                "epochs": trainer.current_epoch,
                "finished": True,
                "seconds": round(seconds + (converting.seconds if converting else 0), 2),
                **({"converted_from": classifier.network["name"]} if converting else {}),
                **_rounded(results),
            },
        )
        print(_in_words(results))


def evaluate(run: str | Path, data: ImageData, *, split: str = "test", **trainer_args: Any) -> dict[str, float]:
    """Accuracies of a run's model on the `val` or `test` images: by `argmax`, one sample, n samples."""
    classifier = with_model(Classifier(), load_model(run))
    with quietly():
        trainer = Trainer(**{**TRAINER_DEFAULTS, "logger": False, "enable_checkpointing": False, **trainer_args})
        ask = trainer.validate if split == "val" else trainer.test
        return dict(ask(classifier, datamodule=data, verbose=False)[0])


def with_model(classifier: Classifier, model: nn.Module) -> Classifier:
    """`classifier`, about a network that is trained already."""
    classifier.model = model
    return classifier


def _rounded(results: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in results.items()}


def _in_words(results: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in results.items())
