"""Train into a run folder: the one path that the command, the demo and the benchmarks take."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.optim.swa_utils import update_bn

from competition_layers import competitions, load_model, save_model

from .classifier import Classifier
from .data import ImageData
from .quiet import quietly
from .run_folder import read_metrics, run_callbacks, run_loggers


def fit(
    classifier: Classifier,
    data: ImageData,
    *,
    run: str | Path,
    epochs: int,
    seed: int = 0,
    reestimate: int = 0,
    trainer_args: Mapping[str, Any] | None = None,
) -> Path:
    """Train `classifier` on `data` for `epochs` into the new folder `run`; returns it.

    Args:
        reestimate: so many training batches re-estimate the batch-norm statistics under the inference rule at the end.
        trainer_args: go to Lightning's Trainer.

    Raises:
        FileExistsError: the folder is there already.
    """
    run = new_run(run)
    with quietly():
        seed_everything(seed, verbose=False)
        options = dict(trainer_args or {})
        callbacks = [*run_callbacks(run), *options.pop("callbacks", [])]
        trainer = Trainer(max_epochs=epochs, callbacks=callbacks, **{**trainer_defaults(run), **options})
        train(trainer, classifier, data, run=run, reestimate=reestimate)
    return run


def new_run(run: str | Path, *, overwrite: bool = False) -> Path:
    """Make the folder of a run.

    Raises:
        FileExistsError: there is one with something in it, and `overwrite` is not set.
    """
    run = Path(run)
    if run.is_dir() and any(run.iterdir()) and not overwrite:
        raise FileExistsError(
            f"Expected a new run but {str(run)!r} exists; --resume goes on with it, --overwrite starts it anew"
        )
    run.mkdir(parents=True, exist_ok=True)
    return run


def trainer_defaults(run: Path) -> dict[str, Any]:
    """What every run's Trainer has."""
    return {
        "default_root_dir": str(run),
        "logger": run_loggers(run),
        "use_distributed_sampler": False,  # ours knows the ranks, and what to augment how
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }


def train(
    trainer: Trainer, classifier: Classifier, data: ImageData, *, run: Path, reestimate: int = 0, resume: bool = False
) -> None:
    """Fit, re-estimate batch norms, report the validation accuracies by every rule, and write the model folder."""
    checkpoint = run / "checkpoints" / "last.ckpt"
    if resume and not checkpoint.is_file():
        raise FileNotFoundError(f"Expected a checkpoint to resume from but got none at {str(checkpoint)!r}")
    trainer.fit(classifier, datamodule=data, ckpt_path=str(checkpoint) if resume else None, weights_only=True)
    if reestimate:
        reestimate_batch_norm(classifier.model, trainer.train_dataloader, batches=reestimate)
    results = trainer.validate(classifier, datamodule=data, verbose=False)[0]
    averaged = any(isinstance(callback, EMAWeightAveraging) for callback in trainer.callbacks)
    if trainer.is_global_zero:
        seconds = sum(float(row["seconds"]) for row in read_metrics(run / "metrics.csv"))
        save_model(
            classifier.model,
            run / "model",
            averaged_weights=averaged,
            training={"epochs": trainer.current_epoch, "seconds": round(seconds, 2), **_rounded(results)},
        )
        print(_in_words(results))


def evaluate(run: str | Path, data: ImageData, *, split: str = "test", **trainer_args: Any) -> dict[str, float]:
    """Accuracies of a run's model on the `val` or `test` images: by `argmax`, one sample, n samples."""
    classifier = with_model(Classifier(), load_model(run))
    with quietly():
        trainer = Trainer(
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **trainer_args,
        )
        ask = trainer.validate if split == "val" else trainer.test
        return dict(ask(classifier, datamodule=data, verbose=False)[0])


def with_model(classifier: Classifier, model: nn.Module) -> Classifier:
    """`classifier`, about a network that is trained already."""
    classifier.model = model
    return classifier


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, loader: Any, *, batches: int) -> None:
    """Change `model` in place: batch-norm statistics anew, from `batches` of `loader` under the inference rule.

    Networks trained with noise see other activations in evaluation; the statistics should be those of the rule in use.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    noise = {layer: layer.noise for layer in competitions(model).values() if layer.inference == "argmax"}
    for layer in noise:
        layer.noise = 0.0
    try:
        device = next(model.parameters()).device
        update_bn((x for _, (x, _) in zip(range(batches), loader, strict=False)), model, device=device)
    finally:
        for layer, scale in noise.items():
            layer.noise = scale


def _rounded(results: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in results.items()}


def _in_words(results: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in results.items())
