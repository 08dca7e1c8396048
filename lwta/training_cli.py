"""Training commands: options by LightningCLI, work by `training`, everything in one run folder."""

import csv
import json
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from competition_layers import load_model
from competition_layers.cells import inert
from competition_layers.files import write_file
from competition_layers.origins import is_function
from competition_layers.terminal import plain
from pictures import print_skipped
from training import Classifier, ImageData, Run
from training.configuration import saved_configuration
from training.decision.sweep import sweep_plot, sweep_table
from training.moved import MOVED
from training.options_file import read_options
from training.picture_sweep import USUAL, settings_of, sweep_pictures
from training.quiet import print_once, quietly
from training.run import TRAINER_DEFAULTS, make_trainer, run_trainer, train, with_model

from .parsing import explain_unknown_keys, instantiated, tidy_options, without_unions
from .recipes import changes, find_recipe

# of the command, not of the run: they are not written into config.yaml
_COMMAND_KEYS = ("config", "run", "runs_dir", "resume", "overwrite", "images", "out", "sweep")
# what reading a trained network needs of its run's Trainer
_READING = (
    *("accelerator", "devices", "num_nodes", "precision", "enable_progress_bar", "strategy"),
    *("limit_val_batches", "limit_test_batches", "limit_predict_batches"),
)
_GONE_ON = "resumed.yaml"  # in a run's folder: what changed when it was resumed, as options over config.yaml


def run(command: str, args: Sequence[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict` with its options."""
    with quietly():
        {"fit": fit, "predict": predict}.get(command, evaluate)(TrainingCLI(command, args))


def fit(cli: "TrainingCLI") -> None:
    """Train into the run folder, which appears with the first step."""
    config = cli.config
    run = Run(
        cli.run_folder,
        seed=int(config.seed_everything),
        reestimate_batch_norm=config.reestimate_batch_norm,
        resume=config.resume,
        overwrite=config.overwrite,
    )
    if cli.config.sweep is not None:
        sweep(cli, run)
        return
    run.check()
    cli.note_changes()
    trainer = run_trainer(run, cli.config_init.trainer.as_dict(), config=cli.dumped())
    train(trainer, cli.model, cli.datamodule, run)
    if trainer.fast_dev_run:
        print_once("A trial run: all of it works together, and nothing was kept")
    else:
        print_once(f"The run is in {run.path}; its model in {run.path / 'model'}")


def sweep(cli: "TrainingCLI", run: Run) -> None:
    """Print accuracy against active units for several decision layers; RUN-sweep.csv and RUN-sweep.svg have it too."""
    if cli.model.network.decision is None:
        raise ValueError("Expected a decision layer to sweep: --model.train decision --model.decision.units 160")
    options = cli.config_init.trainer.as_dict()
    rows = sweep_pictures(
        cli.model,
        cli.datamodule,
        settings_of(cli.config.sweep, cli.model.network.decision),
        features=run.path.parent / ".features",
        epochs=options["max_epochs"],
        options=options,
    )
    print(sweep_table(rows))
    table = run.path.with_name(f"{run.path.name}-sweep.csv")
    with write_file(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        values = [{**asdict(row.decision), **asdict(row)} for row in rows]
        writer = csv.DictWriter(file, [key for key in values[0] if key != "decision"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(values)
    plot = sweep_plot(rows, table.with_suffix(".svg"))
    print(
        f"\nThe table is {table}, the plot {plot}. The features are kept: --model.decision.units N "
        "--model.decision.competitors U in the place of --sweep trains the one you choose"
    )


def evaluate(cli: "TrainingCLI") -> None:
    """Print a run's accuracies, by each rule, on its validation or test images; `RUN/test.json` has them too."""
    classifier = with_model(cli.model, load_model(cli.trained))
    trainer = cli.reading_trainer()
    ask = trainer.validate if cli.command == "validate" else trainer.test
    found = ask(classifier, datamodule=cli.datamodule, verbose=False)
    if not found:
        raise ValueError(f"Expected images to {cli.command} on but the limit of batches leaves none")
    results = found[0]
    for name, value in results.items():
        print(f"{name:28} {value:.4f}")
    if trainer.is_global_zero:
        with write_file(cli.run_folder / f"{cli.command}.json") as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")


def predict(cli: "TrainingCLI") -> None:
    """Write a table: the likeliest class of every image in a folder, and its probability."""
    if cli.config.images is None:
        raise ValueError("Expected a folder of images to predict but got none: --images DIR")
    model = load_model(cli.trained)
    cli.datamodule.data_dir = str(cli.config.images)
    likeliest = _Likeliest()
    trainer = cli.reading_trainer(likeliest)
    trainer.predict(with_model(cli.model, model), datamodule=cli.datamodule, return_predictions=False)
    images, broken = cli.datamodule.images["predict"], trainer.predict_dataloaders.dataset.broken
    names = model.lwta.label_names
    out = cli.config.out or cli.run_folder / "predictions.csv"
    with write_file(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "probability"))
        for i, (probability, best) in enumerate(likeliest.found):
            if i not in broken:
                file_name = f"{images.source}/{images.names[i]}"
                writer.writerow((inert(file_name), inert(names[best] if names else best), f"{probability:.4f}"))
    print_skipped([(images.names[i], why) for i, why in broken.items()])
    print(f"{len(images) - len(broken)} predictions are in {plain(out)}")


class _Likeliest(Callback):
    """Keeps of each picture the likeliest class and its probability: all scores of many pictures would be gigabytes."""

    def __init__(self) -> None:
        self.found: list[tuple[float, int]] = []

    def on_predict_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *where: Any) -> None:
        probability, best = outputs.max(-1)
        self.found += zip(probability.tolist(), best.tolist(), strict=True)


class TrainingCLI(LightningCLI):
    """LightningCLI over our classifier and images, with a run folder; it parses and builds, and runs nothing."""

    def __init__(self, command: str, args: Sequence[str]):
        self.command = command
        self.changes: dict[str, tuple[Any, Any]] = {}
        self.typed_backbone = ""
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

    @property
    def trained(self) -> str:
        """The run's network as `load_model` takes it: a function makes its backbone where that was typed."""
        return f"{self.typed_backbone}={self.run_folder}" if is_function(self.typed_backbone) else str(self.run_folder)

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
        if self.command == "fit":
            parser.add_argument(
                "--sweep",
                type=str | None,
                nargs="?",
                const=USUAL,
                help=f"try decision layers UNITS/COMPETITORS,... on the same features and print a table; e.g. {USUAL}",
            )
        if self.command == "predict":
            parser.add_argument("--images", type=Path | None, help="a folder of images to predict")
            parser.add_argument("--out", type=Path | None, help="the table; by default RUN/predictions.csv")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)
        if self.command == "fit" and not self.config.resume:
            return
        if any(arg.partition("=")[0] == "--model.backbone" for arg in args):
            self.typed_backbone = self.config.model.backbone
        folder = self.run_folder
        saved = [saved_configuration(folder / "config.yaml")]
        if (folder / _GONE_ON).is_file():
            saved.append(read_options(folder / _GONE_ON))
        if self.command != "fit":  # whoever reads a run that was sent to them runs none of its callbacks
            for config in saved:
                trainer = config.get("trainer") or {}
                config["trainer"] = {k: v for k, v in trainer.items() if k in _READING and not isinstance(v, dict)}
        before = [f"--config={yaml.safe_dump(config, sort_keys=False)}" for config in saved]
        self.config = parser.parse_args([*before, *args])
        self.changes = changes(parser.parse_args(before), self.config, command=self.command)

    def note_changes(self) -> None:
        """Say what changes in a run that goes on, and write it down beside its configuration."""
        if not self.changes or rank_zero_only.rank:
            return
        for key, (before, now) in self.changes.items():
            print(f"--{key} was {before!r} and is {now!r} from here on")
        path = self.run_folder / _GONE_ON
        noted = read_options(path) if path.is_file() else {"trainer": {}}
        noted["trainer"] |= {key.removeprefix("trainer."): now for key, (_, now) in self.changes.items()}
        with write_file(path) as temporary:
            temporary.write_text(yaml.safe_dump(noted), encoding="utf-8")

    def instantiate_classes(self) -> None:
        """Classifier and images; the Trainer comes later, with the callbacks of the command."""
        self.config_init = instantiated(self.parser, self.config)
        self.model, self.datamodule = self.config_init.model, self.config_init.data

    def reading_trainer(self, *callbacks: Callback) -> Trainer:
        """The Trainer that reads a trained network: what the machine needs of the run's options."""
        asked = self.config_init.trainer.as_dict()
        kept = {"logger": False, "enable_checkpointing": False, "callbacks": list(callbacks)}
        return make_trainer({**{key: asked[key] for key in _READING}, **kept})

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
        raise ArgumentError(None, without_unions(explain_unknown_keys(self, message, MOVED))) from ex
