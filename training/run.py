"""Train into a run folder: the one path that the command, the demo and the benchmarks take."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, Trainer, seed_everything
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from competition_layers import load_model, save_model

from .callbacks import run_callbacks
from .checkpoints import WholeCheckpoints
from .classifier import Classifier
from .configuration import configuration
from .data import ImageData
from .decision.feature_data import FeatureData
from .quiet import print_once, quietly
from .run_folder import Run, claimed
from .tables import read_metrics

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
    run: Run | str | Path,
    epochs: int,
    trainer_args: Mapping[str, Any] | None = None,
) -> Path:
    """Train `classifier` on `data` for `epochs` into the folder `run`; returns it.

    Args:
        run: the folder, or a `Run` with a seed, `resume` or `overwrite`.
        trainer_args: go to Lightning's Trainer.

    Raises:
        FileExistsError: the folder is there already, and neither `resume` nor `overwrite` is set.
    """
    run = run if isinstance(run, Run) else Run(run)
    options = {"max_epochs": epochs, **(trainer_args or {})}
    with quietly():
        seed_everything(run.seed, verbose=False)
        trainer = run_trainer(run, options, config=configuration(classifier, data, run, options))
        train(trainer, classifier, data, run)
    return run.path


def run_trainer(run: Run, options: Mapping[str, Any], *, config: str) -> Trainer:
    """Lightning's Trainer with the callbacks of every run, TensorBoard where it is installed, and whole checkpoints.

    Args:
        config: the run's options as YAML.

    Raises:
        ValueError: options that the Trainer does not take.
    """
    options = {"logger": None, "callbacks": None, "plugins": None, "enable_checkpointing": None, **options}
    if run.resume and options.get("fast_dev_run"):
        raise ValueError("Expected --resume or --trainer.fast_dev_run but got both: a trial run keeps nothing")
    options["callbacks"] = run_callbacks(
        run, config, further=options["callbacks"] or [], checkpoints=options["enable_checkpointing"] is not False
    )
    if options["logger"] in (None, True):
        found = find_spec("tensorboard")
        options["logger"] = TensorBoardLogger(run.path, name="tensorboard", version="") if found else False
    plugins = options["plugins"] or []
    plugins = list(plugins) if isinstance(plugins, list | tuple) else [plugins]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        options["plugins"] = [*plugins, WholeCheckpoints()]
    return make_trainer({"default_root_dir": str(run.path), **options})


def make_trainer(options: Mapping[str, Any]) -> Trainer:
    """Lightning's Trainer with our defaults; what it refuses is said as a mistake in the options."""
    try:
        return Trainer(**{**TRAINER_DEFAULTS, **options})
    except ImportError:
        raise
    except Exception as error:  # it has half a dozen kinds for wrong values
        raise ValueError(f"Expected options that Lightning's Trainer takes: {error}") from error


def train(trainer: Trainer, classifier: Classifier, data: LightningDataModule, run: Run) -> None:
    """Fit, report the validation accuracies by every rule, and write the model folder."""
    if classifier.trains_decision:
        if run.reestimate_batch_norm:
            raise ValueError("Expected no reestimate_batch_norm for train='decision': the backbone stays as it is")
        data = FeatureData(data, run.path.parent / ".features", views=classifier.views)
    with claimed(run):
        classifier.prepare()
        checkpoint = str(run.checkpoint) if run.resume else None
        trainer.fit(classifier, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        found = trainer.validate(classifier, datamodule=data, verbose=False)
        results = found[0] if found else {}  # nothing to validate on
        if trainer.is_global_zero and not trainer.fast_dev_run:
            _save(trainer, classifier, results, run)
        print_once(_in_words(results))


def _save(trainer: Trainer, classifier: Classifier, results: Mapping[str, float], run: Run) -> None:
    seconds = sum(float(row["seconds"]) for row in read_metrics(run.path / "metrics.csv"))
    converting = classifier.converting
    save_model(
        classifier.model,
        run.path / "model",
        averaged_weights=any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks),
        training={
            "epochs": trainer.current_epoch,
            "finished": True,
            "seconds": round(seconds + (converting.seconds if converting else 0), 2),
            **({"converted_from": classifier.network.backbone} if converting else {}),
            **{name: round(float(value), 6) for name, value in results.items()},
        },
    )


def evaluate(run: str | Path, data: ImageData, *, split: str = "test", **trainer_args: Any) -> dict[str, float]:
    """Accuracies of a run's model on the `val` or `test` images: by `argmax`, one sample, n samples."""
    classifier = with_model(Classifier(), load_model(run))
    with quietly():
        trainer = make_trainer({"logger": False, "enable_checkpointing": False, **trainer_args})
        ask = trainer.validate if split == "val" else trainer.test
        return dict(ask(classifier, datamodule=data, verbose=False)[0])


def with_model(classifier: Classifier, model: nn.Module) -> Classifier:
    """`classifier`, about a network that is trained already."""
    classifier.model = model
    return classifier


def _in_words(results: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in results.items())
