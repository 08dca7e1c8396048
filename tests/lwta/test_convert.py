"""`lwta convert`: one command from a dense network to a run with a sparse one."""

import csv
import json

import pytest
import timm
import torch
import yaml
from made_pictures import paint
from safetensors.torch import save_file

from competition_layers import competitions, load_model
from lwta.cli import main as lwta
from lwta.open_model import training_seconds

SIZE = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2}
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
QUIET = f"--trainer_options={json.dumps(TRAINER)}"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, and a dense network trained on them."""
    home = tmp_path_factory.mktemp("home")
    paint(home / "pictures" / "train")
    paint(home / "pictures" / "test", seed=1)
    config = {
        "model": {
            "backbone": "vit_tiny_patch16_224",
            "competitors": 1,
            "image_size": 16,
            "start": {"model_args": {name: value for name, value in SIZE.items() if name != "img_size"}},
            "optimizer": {"lr": 4e-3},
            "execution": {"samples": 2},
        },
        "data": {"data_dir": str(home / "pictures"), "loading": {"batch_size": 4, "workers": 0}},
        "trainer": {"max_epochs": 2, "gradient_clip_val": 1.0, **TRAINER},
    }
    (home / "small.yaml").write_text(yaml.safe_dump(config))
    assert lwta(["fit", "-c", str(home / "small.yaml"), "--run", "dense", f"--runs_dir={home}"]) == 0
    return home


def rows(run):
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_is_converted_read_and_repeated(home, capsys):
    command = ["convert", str(home / "dense"), f"--runs_dir={home}", "--competitors", "4", QUIET]
    assert lwta([*command, "--run", "sparse", "--epochs", "1.5", "--conversion.images", "8"]) == 0
    layers = competitions(load_model(home / "sparse"))
    assert [layer.groups.competitors for layer in layers.values()] == [4]
    config = yaml.safe_load((home / "sparse" / "config.yaml").read_text())
    assert config["model"]["optimizer"]["lr"] == 2e-3  # half of the dense network's
    assert config["data"]["loading"]["batch_size"] == 4
    assert [row["step"] for row in rows(home / "sparse")] == ["3", "6"]  # 1.5 epochs of 4 steps
    assert lwta(["test", "--run", "sparse", f"--runs_dir={home}"]) == 0
    assert json.loads((home / "sparse" / "test.json").read_text())["test_density"] == 0.25
    seconds = {run: json.loads((home / run / "model" / "config.json").read_text()) for run in ("dense", "sparse")}
    both = sum(config["training"]["seconds"] for config in seconds.values())
    assert training_seconds(str(home / "sparse")) == pytest.approx(both)  # the teacher's cost counts
    again = ["fit", "-c", str(home / "sparse" / "config.yaml"), f"--runs_dir={home}"]
    assert lwta([*again, "--run", "again"]) == 0
    assert rows(home / "again") == rows(home / "sparse")


def test_a_folder_in_timms_own_format_is_converted(home, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=2, **SIZE)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 2,
        "model_args": SIZE,
        "pretrained_cfg": {"input_size": [3, 16, 16], "label_names": ["blue", "red"], "num_classes": 2},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (
        lwta(
            [
                *("convert", f"local-dir:{tmp_path}", "--data", str(home / "pictures"), "--run", "hub", QUIET),
                *(
                    f"--runs_dir={home}",
                    "--image_options",
                    '{"loading": {"batch_size": 4, "workers": 0}}',
                    "--epochs",
                    "0.5",
                ),
            ]
        )
        == 0
    )
    model = load_model(home / "hub")
    assert model.lwta.label_names == ("blue", "red")
    assert model.blocks[0].mlp.act.groups.competitors == 8


@pytest.mark.parametrize(
    "options, message",
    [
        (["--run", "dense"], "exists"),
        ([], "--run NAME"),
        (["--run", "x", "--epochs", "0"], "Expected --epochs to be a number > 0 but got 0"),
        (["--run", "x", "--competitors", "7"], "multiple of competitors=7 but got 96"),
        (["--run", "x", "--conversion.groups", "index"], "did you mean '--conversion.grouping'"),
    ],
)
def test_mistakes_are_told_in_one_line(home, capsys, options, message):
    assert lwta(["convert", str(home / "dense"), f"--runs_dir={home}", QUIET, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_network_without_a_run_needs_images(home, capsys):
    assert lwta(["convert", str(home / "dense" / "model"), "--run", "x", f"--runs_dir={home}"]) == 2
    assert "--data DIR" in capsys.readouterr().err
