"""Claims about memory: a command that loops over pictures needs no more for many of them than for few."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from competition_layers import create_model, save_model
from lwta.cli import main

SIDE = 64  # of a picture: the graph of one batch of 32 is several MiB
FEW, MANY = 64, 576
MORE = 48  # MiB for 16 batches more: the pictures' names and hashes, what an allocator keeps
SMALL = {"layers": [1, 1, 1, 1], "channels": [32, 32, 64, 64]}
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False, "max_epochs": 1}
LOADING = {"batch_size": 32, "workers": 0}
TRAINED = (  # options of a run on the pictures
    *("--model.backbone", "resnet18", "--model.image_size", str(SIDE), "--model.competitors", "8"),
    *("--model.start.model_args", json.dumps(SMALL), "--data.data_dir", "{data}"),
    *(f"--data.loading.{name}={value}" for name, value in LOADING.items()),
    *(f"--trainer.{name}={value}".lower() for name, value in TRAINER.items()),
)
FROZEN = ("--model.train", "decision", "--model.competitors", "1", "--model.decision.units", "32")
READ = ("--run", "run", "--runs_dir", "{room}")
CONVERTED = (
    *("--data", "{data}", "--run", "run", "--runs_dir", "{out}", "--image_options", json.dumps({"loading": LOADING})),
    *("--trainer_options", json.dumps({k: v for k, v in TRAINER.items() if k != "max_epochs"})),
)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A competing model, its dense twin, a run, and folders of few and of many pictures in two classes."""
    folder = tmp_path_factory.mktemp("memory")
    torch.manual_seed(0)
    for name, competitors in (("model", 8), ("dense", 1)):
        options = {"competitors": competitors, "num_classes": 2, "label_names": ("a", "b"), "image_size": SIDE}
        save_model(create_model("resnet18", **options, **SMALL).eval(), folder / name)
    random = np.random.default_rng(0)
    for count in (FEW, MANY):
        for i in range(count):
            path = folder / str(count) / "train" / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "typed",
    [
        ("compare", "{model}", "--data", "{pictures}", "--batch_size", "32", "--samples", "1", "--out", "{out}.html"),
        ("explain", "{pictures}", "--model", "{model}", "--top", "2", "--out", "{out}.html"),
        ("describe", "--model", "{model}", "--probe", "{pictures}", "--batch_size", "32", "--out", "{out}"),
        ("judge", "{names}", "--images", "{pictures}", "--evaluator", "bundled"),
        (
            *("edit", "{model}", "--off", "layer4.0.act2:1", "--refit", "head", "--train", "{pictures}"),
            *("--data", "{pictures}", "--batch_size", "32", "--out", "{out}"),
        ),
        ("fit", *TRAINED, *FROZEN, "--run", "run", "--runs_dir", "{out}"),
        ("convert", "{dense}", *CONVERTED),
        ("test", *READ, "--data.data_dir", "{data}", "--data.splits.test", "train"),
        ("predict", *READ, "--images", "{pictures}", "--out", "{out}.csv"),
    ],
    ids=lambda typed: typed[0],
)
def test_many_pictures_need_no_more_memory_than_few(typed, room, tmp_path):
    needed = []
    for count in (FEW, MANY):
        places = {"room": room, "model": room / "model", "dense": room / "dense", "out": tmp_path / str(count)}
        places |= {"data": room / str(count), "pictures": room / str(count) / "train", "names": room / f"names-{count}"}
        prepare(typed, places)
        needed.append(peak([filled(part, places) for part in typed]))
    page = tmp_path / f"{MANY}.html"  # every picture stands on it, three times, and it is written in one piece
    few, many = needed
    assert many - few < MORE + (5 * page.stat().st_size / 2**20 if page.is_file() else 0)


def prepare(typed: tuple[str, ...], places: dict[str, Path]) -> None:
    """The run or the dissection that the command reads."""
    if "{names}" in typed:
        options = ["--model", str(places["model"]), "--probe", str(places["pictures"]), "--out", str(places["names"])]
        assert main(["describe", *options]) == 0
    if typed[1:5] == READ and not (places["room"] / "run").exists():
        few = [filled(part, places) for part in TRAINED]
        assert main(["fit", *few, "--run", "run", "--runs_dir", str(places["room"])]) == 0


def filled(part: str, places: dict[str, Path]) -> str:
    """With the places it names; braces of JSON stay."""
    for name, place in places.items():
        part = part.replace(f"{{{name}}}", str(place))
    return part


def peak(argv: list[str]) -> float:
    """MiB that the command held at most."""
    code = (
        f"import resource, sys; from lwta.cli import main; status = main({argv!r}); "
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, mebibytes = seen.stderr.split()[-2:]
    assert status == "0", seen.stderr
    return float(mebibytes)
