"""Training in two processes: each draws noise of its own, and every image counts once."""

import json
import os
import subprocess
import sys

import pytest
import torch
from made_pictures import paint

from training import ImageData, Loading, Splits, evaluate

OPTIONS = {
    "model.image_size": 16,
    "model.start.model_args": "{patch_size: 4, embed_dim: 24, depth: 1, num_heads: 2}",
    "model.competition.noise_scale": 1.0,
    "data.loading.batch_size": 2,
    "data.loading.workers": 0,
    "data.splits.val_fraction": 0.25,  # 5 of 20: the two processes do not share them out evenly
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
    "trainer.devices": 2,
    "trainer.strategy": "ddp",
    "trainer.enable_progress_bar": "false",
    "trainer.logger": "false",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two processes that found each other through gloo."""
    home = tmp_path_factory.mktemp("processes")
    paint(home / "train")
    typed = [f"--{key}={value}" for key, value in {**OPTIONS, "data.data_dir": home}.items()]
    command = [sys.executable, "-m", "lwta", "fit", "--run=pair", f"--runs_dir={home}", *typed]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (home / "said.txt").write_text(done.stdout + done.stderr)
    return home / "pair"


@pytest.mark.slow
def test_two_processes_draw_different_noise(run):
    states = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["generators"]
    assert len(states) == 2
    (seed, passes), (other_seed, other_passes) = (next(iter(state["noise"].values())) for state in states)
    assert seed != other_seed
    assert passes == other_passes


@pytest.mark.slow
def test_two_processes_count_every_image_once(run):
    together = json.loads((run / "model" / "config.json").read_text())["training"]
    data = ImageData(str(run.parent), splits=Splits(val_fraction=0.25), loading=Loading(batch_size=2, workers=0))
    alone = evaluate(run, data, split="val", accelerator="cpu", enable_progress_bar=False)
    for name in ("val_accuracy", "val_accuracy_argmax", "val_loss"):
        assert together[name] == pytest.approx(alone[name], abs=1e-5), name


@pytest.mark.slow
def test_two_processes_write_one_run(run):
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    last = (run / "metrics.csv").read_text().splitlines()[-1]
    assert last.startswith("1,8,")  # 15 images, 2 processes, batches of 2: 4 steps an epoch


@pytest.mark.slow
def test_two_processes_have_nothing_to_warn_of(run):
    said = (run.parent / "said.txt").read_text()
    assert "Warning" not in said and "recommended" not in said, said
