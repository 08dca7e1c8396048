"""Claims about memory: a command that loops over pictures needs no more for many of them than for few."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from competition_layers import create_model, save_model

SIDE = 64  # of a picture: the graph of one batch of 32 is several MiB
FEW, MANY = 64, 576
MORE = 48  # MiB for 16 batches more: the pictures' names and hashes, what an allocator keeps


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A competing model, and folders of few and of many pictures in two classes."""
    folder = tmp_path_factory.mktemp("memory")
    torch.manual_seed(0)
    small = {"layers": (1, 1, 1, 1), "channels": (32, 32, 64, 64), "image_size": SIDE}
    model = create_model("resnet18", competitors=8, num_classes=2, label_names=("a", "b"), **small)
    save_model(model.eval(), folder / "model")
    random = np.random.default_rng(0)
    for count in (FEW, MANY):
        for i in range(count):
            path = folder / str(count) / "ab"[i % 2] / f"{i}.png"
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
    ],
    ids=lambda typed: typed[0],
)
def test_many_pictures_need_no_more_memory_than_few(typed, room, tmp_path):
    few, many = (peak(typed, room / "model", room / str(count), tmp_path / str(count)) for count in (FEW, MANY))
    page = tmp_path / f"{MANY}.html"  # every picture stands on it, three times, and it is written in one piece
    assert many - few < MORE + (5 * page.stat().st_size / 2**20 if page.is_file() else 0)


def peak(typed: tuple[str, ...], model: Path, pictures: Path, out: Path) -> float:
    """MiB that the command held at most."""
    argv = [part.format(model=model, pictures=pictures, out=out) for part in typed]
    code = (
        f"import resource, sys; from lwta.cli import main; status = main({argv!r}); "
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, mebibytes = seen.stderr.split()[-2:]
    assert status == "0", seen.stderr
    return float(mebibytes)
