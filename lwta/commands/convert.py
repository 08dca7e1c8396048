"""`lwta convert`: a trained dense network becomes a sparse one, in a small share of its training."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from competition_layers.terminal import plain
from training import Conversion
from training.configuration import saved_configuration

from ..parsing import parse_call

# of the dense network's own run: what its conversion takes over where nothing else is asked
_OF_THE_RECIPE = {
    "optimizer": ("opt", "opt_args", "weight_decay"),
    "loss": ("label_smoothing",),
    "execution": ("samples", "channels_last"),
}
_OF_THE_TRAINER = ("precision", "gradient_clip_val")
_ALL = Conversion()  # every ingredient


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(convert, argv, prog="lwta convert", positionals=("model",))
    return 0


def convert(
    model: str,
    data: Path | None = None,
    run: str | None = None,
    runs_dir: Path = Path("runs"),
    competitors: int | dict[str, int] = 8,
    epochs: float = 1.0,
    lr: float | None = None,
    conversion: Conversion = _ALL,
    reestimate_batch_norm: int = 50,
    include: list[str] | None = None,
    image_options: dict[str, Any] | None = None,
    trainer_options: dict[str, Any] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Turn a trained dense network into a sparse one: regroup its units, swap its activations gradually, distil.

    The result is a run like any other; `lwta fit -c RUN/config.yaml --run OTHER` repeats it.

    Args:
        model: the dense network: a run or model folder, hf-hub:, local-dir:, or a timm name (its pretrained weights).
        data: folder of images, train/CLASS/*.jpg; by default the one that the dense network's run was trained on.
        run: name of the run: its folder is RUNS_DIR/NAME.
        runs_dir: where the runs are.
        competitors: U, or globs on activations with a U each; 1 trains the dense network on: the fair comparison.
        epochs: how long; may be a fraction.
        lr: learning rate at the start; by default half of the dense network's run's, or 1e-4.
        conversion: its ingredients, each of which can be left out.
        reestimate_batch_norm: so many training batches re-estimate batch-norm statistics; 0 leaves that out.
        include: globs on activations; by default where the dense network's run could compete.
        image_options: of ImageData (loading: {batch_size: 32}, splits: {val: val}, ...), over those of the dense
            network's run.
        trainer_options: of Lightning's Trainer (accelerator, precision, ...), over those of the dense network's run.
        seed: of order, augmentation and noise.
        overwrite: start a run of this name anew.
    """
    if run is None:
        raise ValueError("Expected a name for the run but got none: --run NAME")
    recipe = recipe_of(model)
    images = {**recipe.get("data", {}), **({"data_dir": str(data)} if data else {})}
    for name, value in (image_options or {}).items():
        images[name] = {**images.get(name, {}), **value} if isinstance(value, dict) else value
    if not images:
        raise ValueError(f"Expected --data DIR, since {model!r} does not say which images it was trained on")
    if "data" not in recipe and data and (data / "val").is_dir():
        images["splits"] = {"val": "val", **images.get("splits", {})}
    from training import Classifier, Execution, ImageData, Loss, Optimizer, Run, fit

    taught = {
        group: {name: recipe["model"][group][name] for name in names if name in recipe["model"].get(group, {})}
        for group, names in _OF_THE_RECIPE.items()
        if recipe
    }
    rate = lr if lr is not None else recipe.get("model", {}).get("optimizer", {}).get("lr", 2e-4) / 2
    classifier = Classifier(
        model,
        competitors=competitors,
        include=include,
        optimizer=Optimizer(lr=rate, **taught.get("optimizer", {})),
        loss=Loss(**taught.get("loss", {})),
        conversion=conversion,
        execution=Execution(**taught.get("execution", {})),
    )
    trainer = {name: recipe.get("trainer", {}).get(name) for name in _OF_THE_TRAINER}
    whole = math.ceil(epochs)
    where = fit(
        classifier,
        ImageData.from_options(images),
        run=Run(runs_dir / run, seed=seed, reestimate_batch_norm=reestimate_batch_norm, overwrite=overwrite),
        epochs=whole,
        trainer_args={**trainer, "limit_train_batches": epochs / whole, **(trainer_options or {})},
    )
    print(f"The run is in {plain(where)}; its model in {plain(where / 'model')}")


def recipe_of(model: str) -> dict[str, Any]:
    """The configuration of the run that a network comes from; empty where it comes from elsewhere."""
    path = Path(model.removeprefix("local-dir:")) / "config.yaml"
    return saved_configuration(path) if path.is_file() else {}
