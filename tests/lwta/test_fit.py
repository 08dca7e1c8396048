"""`lwta fit|validate|test|predict`: options, the run folder, mistakes."""

import csv
import json
import os
import shutil
from argparse import ArgumentError

import pytest
import yaml
from made_pictures import paint

from competition_layers import competitions, load_model
from lwta.cli import main as lwta
from lwta.commands.fit import main
from lwta.training_cli import TrainingCLI
from training.configuration import saved_configuration

MODEL = {
    "backbone": "vit_tiny_patch16_224",
    "image_size": 16,
    "start": {"model_args": {"patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2}},
    "execution": {"samples": 2},
}
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with pictures, a configuration, and one finished run."""
    home = tmp_path_factory.mktemp("home")
    paint(home / "pictures" / "train")
    paint(home / "pictures" / "test", seed=1)
    config = {
        "seed_everything": 4,
        "model": MODEL,
        "data": {"data_dir": str(home / "pictures"), "loading": {"batch_size": 4, "workers": 0}},
        "trainer": {"max_epochs": 2, **QUIET},
    }
    (home / "small.yaml").write_text(yaml.safe_dump(config))
    main(["fit", "-c", str(home / "small.yaml"), "--run", "first", f"--runs_dir={home}"])
    return home


def fit(home, *options):
    return main(["fit", "-c", str(home / "small.yaml"), f"--runs_dir={home}", *options])


def rows(run):
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_is_repeated_from_its_configuration_alone(home):
    main(["fit", "-c", str(home / "first" / "config.yaml"), "--run", "second", f"--runs_dir={home}"])
    assert rows(home / "second") == rows(home / "first")
    assert (home / "second" / "config.yaml").read_text() == (home / "first" / "config.yaml").read_text()


def test_the_configuration_is_whole_and_names_what_was_typed(home):
    fit(home, "--run", "typed", "--model.optimizer.lr", "0.002", "--trainer.max-epochs", "1")
    config = yaml.safe_load((home / "typed" / "config.yaml").read_text())
    assert config["model"]["optimizer"]["lr"] == 0.002
    assert config["trainer"]["max_epochs"] == 1
    assert config["model"]["loss"]["label_smoothing"] == 0.1
    assert not {"run", "runs_dir", "resume", "overwrite", "config"} & config.keys()


def test_what_was_typed_is_never_overruled_by_a_checkpoint(home):
    before = (home / "first" / "config.yaml").read_text()
    with pytest.raises(ValueError, match=r"--model.optimizer.lr as the run was started with, 0.001, but got 0.5"):
        main(["fit", "--run", "first", f"--runs_dir={home}", "--resume", "--model.optimizer.lr", "0.5"])
    assert (home / "first" / "config.yaml").read_text() == before


def test_a_finished_run_may_be_resumed_and_stays_as_it_is(home):
    before = rows(home / "first")
    assert main(["fit", "--run", "first", f"--runs_dir={home}", "--resume", "--model.optimizer.lr", "0.001"]) == 0
    assert rows(home / "first") == before


def test_a_run_is_not_written_over(home, capsys):
    assert lwta(["fit", "-c", str(home / "small.yaml"), "--run", "first", f"--runs_dir={home}"]) == 2
    assert "--resume goes on with it, --overwrite starts it anew" in capsys.readouterr().err


def test_accuracies_are_printed_and_kept(home, capsys):
    assert main(["test", "--run", "first", f"--runs_dir={home}"]) == 0
    printed = capsys.readouterr().out
    kept = json.loads((home / "first" / "test.json").read_text())
    for name in ("test_accuracy_argmax", "test_accuracy_one_sample", "test_accuracy_2_samples"):
        assert f"{name:28} {kept[name]:.4f}" in printed
    assert main(["validate", "--run", "first", f"--runs_dir={home}"]) == 0
    validated = json.loads((home / "first" / "validate.json").read_text())
    training = json.loads((home / "first" / "model" / "config.json").read_text())["training"]
    assert validated["val_loss"] == pytest.approx(training["val_loss"], abs=1e-6)


def test_predictions_are_a_table(home, tmp_path):
    images = home / "pictures" / "test" / "red"
    main(["predict", "--run", "first", f"--runs_dir={home}", f"--images={images}", f"--out={tmp_path / 'p.csv'}"])
    with (tmp_path / "p.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 10
    assert {row["label"] for row in table} <= set(load_model(home / "first").lwta.label_names)
    assert all(0.5 <= float(row["probability"]) <= 1 for row in table)


def test_one_broken_picture_and_one_of_an_odd_name_cost_no_table(home, tmp_path, capsys):
    folder = paint(tmp_path / "pictures", classes=("red",), each=3)
    (folder / "red" / "1.png").write_bytes(b"words")
    (folder / "red" / "2.png").rename(os.fsdecode(os.fsencode(folder / "red") + b"/caf\xe9.png"))
    main(["predict", "--run", "first", f"--runs_dir={home}", f"--images={folder}", f"--out={tmp_path / 'p.csv'}"])
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [f"{folder}/red/0.png", rf"{folder}/red/caf\xe9.png"]
    said = capsys.readouterr().out
    assert "skipped red/1.png: not an image" in said and "2 predictions are in" in said


def test_a_recipe_is_found_by_its_name_and_a_slip_is_answered(home):
    with pytest.raises(FileNotFoundError, match=r"did you mean 'cifar10_vit\.yaml'"):
        main(["fit", "-c", "cifar10_vti.yaml", "--run", "x", f"--runs_dir={home}"])


@pytest.mark.parametrize(
    "typed",
    [
        ["--model.competitors", '{"blocks.1.*": 8, "*": 4}'],
        ["--model.competitors.blocks.1.*", "8", "--model.competitors.*", "4"],
        ["-c", "mapping.yaml"],
    ],
)
def test_competitors_by_glob_typed_or_in_a_file(home, tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapping.yaml").write_text("model:\n  competitors: {blocks.1.*: 8, '*': 4}\n")
    fit(
        home,
        "--run",
        "by glob",
        "--overwrite",
        *typed,
        "--model.start.model_args.depth",
        "2",
        "--trainer.max_epochs",
        "1",
    )
    layers = competitions(load_model(home / "by glob")).values()
    assert [layer.groups.competitors for layer in layers] == [4, 8]
    kept = yaml.safe_load((home / "by glob" / "config.yaml").read_text())["model"]["competitors"]
    assert list(kept.items()) == [("blocks.1.*", 8), ("*", 4)]  # the first that fits counts


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (["--model.compettitors", "4"], "did you mean '--model.competitors'"),
        (["--trainer.max_ep", "1"], "did you mean '--trainer.max_epochs'"),
        (["--dat.batch_size", "1"], "did you mean '--data.loading.batch_size'"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(home, typed, answer):
    with pytest.raises(ArgumentError, match=answer):
        fit(home, "--run", "x", *typed)
    assert not (home / "x").exists()


def test_an_unknown_key_in_a_file_is_answered_with_the_nearest(home, tmp_path):
    (tmp_path / "slip.yaml").write_text("model:\n  loss: {label_smothing: 0.2}\n")
    with pytest.raises(ArgumentError, match=r"did you mean 'model\.loss\.label_smoothing'"):
        main(["fit", "-c", str(tmp_path / "slip.yaml"), "--run", "x"])


def test_a_run_needs_a_name_and_a_reading_a_run(home):
    with pytest.raises(ValueError, match="--run NAME"):
        fit(home)
    with pytest.raises(FileNotFoundError, match="configuration of a run"):
        main(["test", "--run", "nothing", f"--runs_dir={home}"])
    with pytest.raises(ValueError, match="--images DIR"):
        main(["predict", "--run", "first", f"--runs_dir={home}"])


MOVED = {
    "lr": ("optimizer.lr", 0.1),
    "noise": ("competition.noise_scale", 1.0),
    "model_args": ("start.model_args", {"depth": 1}),
    "initial_weights": ("start.weights", "x"),
    "label_smoothing": ("loss.label_smoothing", 0.1),
    "channels_last": ("execution.channels_last", True),
}


@pytest.mark.parametrize("old", MOVED)
def test_a_key_of_the_first_version_is_refused_with_the_new_one(home, tmp_path, old):
    new, value = MOVED[old]
    (tmp_path / "old.yaml").write_text(yaml.safe_dump({"model": {old: value}}))
    with pytest.raises(ArgumentError, match=rf"got 'model\.{old}.*', which is 'model\.{new}.*' now"):
        fit(home, "--run", "x", "-c", str(tmp_path / "old.yaml"))
    with pytest.raises(ArgumentError, match=rf"got '--model\.{old}', which is '--model\.{new}' now"):
        fit(home, "--run", "x", f"--model.{old}", str(value))


def test_a_run_of_the_first_version_is_read_and_gone_on_with(home, capsys):
    folder = home / "old"
    shutil.copytree(home / "first", folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    start, optimizer = config["model"].pop("start"), config["model"].pop("optimizer")
    for group in ("competition", "annealing", "loss"):
        config["model"].pop(group)
    config["model"] |= {
        "model_args": start["model_args"],
        "initial_weights": None,
        "noise": 0.0,
        "label_smoothing": 0.1,
    }
    config["model"] |= {**optimizer, "opt_args": None, "sched_args": None, **config["model"].pop("execution")}
    splits = {"val_split": None, "test_split": "test", "val_fraction": 0.1, "split_seed": 0, "subset": None}
    dataset = {"dataset": "", "dataset_args": None, "download": False, "class_names": None}
    loading = {"cache": False, "on_bad": "refuse", **config["data"].pop("loading")}
    config["data"] = {"data_dir": config["data"]["data_dir"], **splits, **dataset, **loading}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["test", "--run", "old", f"--runs_dir={home}"]) == 0
    assert main(["fit", "--run", "old", f"--runs_dir={home}", "--resume"]) == 0
    assert rows(folder) == rows(home / "first")


def test_an_old_schedule_becomes_a_start_and_an_end(tmp_path):
    noise = {"start": 1.0, "end": 0.25, "until": 0.5, "shape": "linear"}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"model": {"noise": noise, "lr": 0.1}, "data": {"test_split": None}})
    )
    assert saved_configuration(tmp_path / "config.yaml")["data"] == {"splits": {"test": None}}
    assert saved_configuration(tmp_path / "config.yaml")["model"] == {
        "annealing": {"noise_scale": {"end": 0.25, "until": 0.5, "shape": "linear"}},
        "competition": {"noise_scale": 1.0},
        "optimizer": {"lr": 0.1},
    }


def test_a_recipe_of_somebody_else_replaces_no_run(home, tmp_path):
    (tmp_path / "gift.yaml").write_text("overwrite: true\n")
    with pytest.raises(ValueError, match="--overwrite to be typed"):
        fit(home, "--run", "first", "-c", str(tmp_path / "gift.yaml"))


def test_reading_a_run_of_somebody_else_makes_nothing_that_its_configuration_names(home, tmp_path, monkeypatch):
    folder = home / "sent"
    shutil.copytree(home / "first", folder)
    (tmp_path / "surprise.py").write_text("raise SystemExit('this ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trainer"] |= {"callbacks": [{"class_path": "surprise.Callback"}], "strategy": {"class_path": "surprise.S"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["test", "--run", "sent", f"--runs_dir={home}"]) == 0


def test_a_run_goes_on_for_longer_and_says_so(home, capsys):
    shutil.copytree(home / "first", home / "longer")
    again = ["fit", "--run", "longer", f"--runs_dir={home}", "--resume"]
    assert main([*again, "--trainer.max_epochs", "3"]) == 0
    assert "--trainer.max_epochs was 2 and is 3 from here on" in capsys.readouterr().out
    assert [row["epoch"] for row in rows(home / "longer")] == ["0", "1", "2"]
    assert main(again) == 0  # the new length stays
    assert len(rows(home / "longer")) == 3
    assert yaml.safe_load((home / "longer" / "resumed.yaml").read_text()) == {"trainer": {"max_epochs": 3}}


@pytest.mark.parametrize("name", ["2024", "007", "1e3", "on", "null_"])
def test_a_run_is_called_what_was_typed_and_a_file_from_windows_is_read(home, tmp_path, name):
    text = (home / "small.yaml").read_text().replace("\n", "\r\n")
    (tmp_path / "windows.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    typed = ["--run", name, f"--runs_dir={home}", "--trainer.fast_dev_run", "true"]
    cli = TrainingCLI("fit", ["-c", str(tmp_path / "windows.yaml"), *typed])
    assert cli.run_folder == home / name
    assert cli.model.options["backbone"] == MODEL["backbone"]


def test_a_sweep_prints_a_table_and_leaves_the_name_for_the_run(home, capsys):
    decision = ("--model.train", "decision", "--model.decision.units", "8", "--model.decision.competitors", "4")
    fit(home, "--run", "swept", *decision, "--sweep", "4/4,8/4")
    said = capsys.readouterr().out
    assert said.count("| pooled |") == 2
    with (home / "swept-sweep.csv").open() as file:
        assert [(row["units"], row["active_units"]) for row in csv.DictReader(file)] == [("4", "1.0"), ("8", "2.0")]
    assert (home / "swept-sweep.svg").is_file()
    fit(home, "--run", "swept", *decision)
    assert "features:" not in capsys.readouterr().out  # they are there
    assert "sweep" not in yaml.safe_load((home / "swept" / "config.yaml").read_text())


def test_a_sweep_without_a_frozen_backbone_is_refused(home):
    with pytest.raises(ValueError, match=r"Expected --model\.train decision with --sweep"):
        fit(home, "--run", "none", "--model.decision.units", "8", "--model.decision.competitors", "4", "--sweep", "8/4")
    with pytest.raises(ValueError, match=r"Expected a decision layer to sweep: --model\.train decision"):
        fit(home, "--run", "none", "--sweep")
    assert not (home / "none").exists()


@pytest.mark.slow
def test_a_function_makes_the_backbone_where_that_is_typed(home, capsys):
    typed = "--model.backbone=own_networks:in_words"
    own = {"competitors": 1, "decision": {"units": 12, "competitors": 4}, "train": "decision"}
    config = {**yaml.safe_load((home / "small.yaml").read_text()), "model": {**own, "execution": {"samples": 1}}}
    (home / "own.yaml").write_text(yaml.safe_dump(config))
    main(["fit", "-c", str(home / "own.yaml"), "--run=own", f"--runs_dir={home}", "--trainer.max_epochs=1", typed])
    read = ["--run=own", f"--runs_dir={home}"]
    assert lwta(["test", *read]) == 2
    assert "--model.backbone own_networks:in_words)" in capsys.readouterr().err
    main(["test", *read, typed])
    main(["predict", *read, typed, f"--images={home / 'pictures' / 'test'}"])
    said = capsys.readouterr().out
    assert "test_accuracy" in said and "20 predictions" in said
