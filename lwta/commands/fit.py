"""`lwta fit|validate|test|predict`: options by LightningCLI, work by `training`, everything in one run folder."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from competition_layers import load_model
from competition_layers.files import write_file
from training import Classifier, ImageData
from training.callbacks import run_callbacks
from training.quiet import quietly
from training.run import TRAINER_DEFAULTS, refuse_existing, run_logger, train, with_model

from ..parsing import explain_unknown_keys, tidy_options
from ..recipes import find_recipe, refuse_changes

# of the command, not of the run: they are not written into config.yaml
_COMMAND_KEYS = ("config", "run", "runs_dir", "resume", "overwrite", "images", "out")
# what reading a trained network needs of its run's Trainer
_READING = ("accelerator", "devices", "num_nodes", "precision", "enable_progress_bar", "strategy")
_READING += ("limit_val_batches", "limit_test_batches", "limit_predict_batches")


def main(argv: Sequence[str]) -> int:
    """Run the command `argv[0]` with the options that follow."""
    command, *rest = argv
    with quietly():
        {"fit": fit, "predict": predict}.get(command, evaluate)(TrainingCLI(command, rest))
    return 0


def fit(cli: "TrainingCLI") -> None:
    """Train into the run folder, which appears with the first step."""
    run, config = cli.run_folder, cli.config
    if not config.resume:
        refuse_existing(run, overwrite=config.overwrite)
    callbacks = run_callbacks(
        run,
        config=None if config.resume else cli.dumped(),
        further=cli.config_init.trainer.callbacks or [],
        reestimate=config.reestimate_batch_norm,
    )
    logger = config.trainer.logger or run_logger(run)
    trainer = cli.trainer_for(callbacks=callbacks, logger=logger, default_root_dir=str(run))
    train(trainer, cli.model, cli.datamodule, run=run, resume=config.resume)
    if trainer.is_global_zero:
        print(f"The run is in {run}; its model in {run / 'model'}")


def evaluate(cli: "TrainingCLI") -> None:
    """Print a run's accuracies, by each rule, on its validation or test images; `RUN/test.json` has them too."""
    classifier = with_model(cli.model, load_model(cli.run_folder))
    trainer = cli.trainer_for(logger=False, enable_checkpointing=False)
    ask = trainer.validate if cli.command == "validate" else trainer.test
    results = ask(classifier, datamodule=cli.datamodule, verbose=False)[0]
    for name, value in results.items():
        print(f"{name:28} {value:.4f}")
    if trainer.is_global_zero:
        with write_file(cli.run_folder / f"{cli.command}.json") as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")


def predict(cli: "TrainingCLI") -> None:
    """Write a table: the likeliest class of every image in a folder, and its probability."""
    if cli.config.images is None:
        raise ValueError("Expected a folder of images to predict but got none: --images DIR")
    model = load_model(cli.run_folder)
    cli.datamodule.data_dir = str(cli.config.images)
    trainer = cli.trainer_for(logger=False, enable_checkpointing=False)
    batches = trainer.predict(with_model(cli.model, model), datamodule=cli.datamodule)
    files = trainer.predict_dataloaders.dataset.files
    names = model.lwta.label_names
    out = cli.config.out or cli.run_folder / "predictions.csv"
    with write_file(out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "probability"))
        for path, scores in zip(files, (row for batch in batches for row in batch), strict=True):
            best = int(scores.argmax())
            writer.writerow((path, names[best] if names else best, f"{float(scores[best]):.4f}"))
    print(f"{len(files)} predictions are in {out}")


class TrainingCLI(LightningCLI):
    """LightningCLI over our classifier and images, with a run folder; it parses and builds, and runs nothing."""

    def __init__(self, command: str, args: Sequence[str]):
        self.command = command
        super().__init__(
            Classifier,
            ImageData,
            run=False,
            args=list(args),
            parser_class=_Parser,
            parser_kwargs={"prog": f"lwta {command}", "allow_abbrev": False, "exit_on_error": False},
            trainer_defaults={**TRAINER_DEFAULTS, "max_epochs": 10},
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # a checkpoint's options would overrule what was typed
        )

    @property
    def run_folder(self) -> Path:
        if self.config.run is None:
            raise ValueError("Expected a name for the run but got none: --run NAME")
        return Path(self.config.runs_dir) / self.config.run

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str | None, help="name of the run: its folder is RUNS_DIR/NAME")
        parser.add_argument("--runs_dir", type=Path, default=Path("runs"), help="where the runs are")
        parser.add_argument(
            "--reestimate_batch_norm",
            type=int,
            default=0,
            help="so many training batches re-estimate batch-norm statistics under the inference rule at the end",
        )
        parser.add_argument("--resume", type=bool, default=False, help="go on with the run where it stopped")
        parser.add_argument("--overwrite", type=bool, default=False, help="start a run of this name anew")
        if self.command == "predict":
            parser.add_argument("--images", type=Path | None, help="a folder of images to predict")
            parser.add_argument("--out", type=Path | None, help="the table; by default RUN/predictions.csv")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)
        if self.command == "fit" and not self.config.resume:
            return
        saved = self.run_folder / "config.yaml"
        if not saved.is_file():
            raise FileNotFoundError(f"Expected the configuration of a run but found no {str(saved)!r}")
        self.config = parser.parse_args([f"--config={saved}", *args])
        refuse_changes(parser.parse_args([f"--config={saved}"]), self.config, command=self.command)

    def instantiate_classes(self) -> None:
        """Classifier and images; the Trainer comes by `trainer_for`, once the run folder stands."""
        self.config_init = self.parser.instantiate(self.config)
        self.model, self.datamodule = self.config_init.model, self.config_init.data

    def trainer_for(self, **options: Any) -> Trainer:
        """The Trainer of the configuration, with `options` on top."""
        asked = self.config_init.trainer.as_dict()
        if self.command != "fit":
            asked = {**TRAINER_DEFAULTS, **{key: asked[key] for key in _READING}}
        return Trainer(**{**asked, **options})

    def dumped(self) -> str:
        """The whole resolved configuration as YAML, without what belongs to this one command."""
        config = self.config.clone()
        for key in _COMMAND_KEYS:
            config.pop(key, None)
        return self.parser.dump(config, skip_unset=False)


class _Parser(LightningArgumentParser):
    """Lightning's parser with the manners of our house (see `lwta.parsing`), and recipes by name."""

    def parse_args(self, args=None, *rest, **options):  # type: ignore[override]
        return super().parse_args(find_recipe(tidy_options(self, args)), *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        super().error(explain_unknown_keys(self, message), ex)
