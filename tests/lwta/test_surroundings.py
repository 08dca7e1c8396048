"""Where commands run: a terminal without UTF-8, a home that cannot be written, folders and classes of any name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_pictures import paint

CLASSES = ("猫", "R&D <x>'s")
NOWHERE = "/proc/nobody"
SURROUNDINGS = {
    "no UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "no home": dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR"), NOWHERE),
}
SMALL = (
    *("--model.backbone", "test_resnet", "--model.image_size", "32", "--model.exclude", "[]"),
    *("--model.competitors", "4", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
    *("--data.loading.workers", "0", "--data.loading.batch_size", "4"),
)
COMMANDS = (
    ("fit", "-c", "folder.yaml", *SMALL, "--run", "my [1]", "--data.data_dir", "PICTURES"),
    ("test", "--run", "my [1]"),
    ("predict", "--run", "my [1]", "--images", "pictures/test"),
    ("describe", "--model", "runs/my [1]", "--probe", "pictures/train", "--out", "names [1]"),
    ("explain", "pictures/test", "--dissection", "names [1]"),
    ("compare", "runs/my [1]", "names [1]", "--data", "pictures/test"),
    ("export", "runs/my [1]", "--out", "exported [1].pt2"),
)
ALL_COMMANDS = f"""
import sys
from lwta import cli
cli._decode_names_as_utf8()  # as the command does, which would take seconds to start anew each time
for command in {COMMANDS!a}:
    if status := cli.main([sys.argv[1] if part == "PICTURES" else part for part in command]):
        sys.exit(f"{{command}}: {{status}}")
"""


def run(*typed, **options):
    command = [sys.executable, "-m", "lwta", *typed]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **options)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_are_utf8_whatever_the_locale_and_print_as_the_terminal_can(encoding, tmp_path):
    environment = {**os.environ, **SURROUNDINGS["no UTF-8"], "PYTHONPATH": str(Path(__file__).parents[2])}
    seen = run("猫", cwd=tmp_path, env={**environment, "PYTHONIOENCODING": encoding}, encoding="utf-8")
    assert ("'猫'" if encoding == "utf-8" else r"'\u732b'") in seen.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_every_command_works_wherever_it_runs(surroundings, tmp_path):
    home = tmp_path / "mes images [2024] d'été"
    for split in ("train", "test"):
        paint(home / "pictures" / split, classes=CLASSES, each=8)
    seen = subprocess.run(
        [sys.executable, "-c", ALL_COMMANDS, home / "pictures"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **SURROUNDINGS[surroundings]},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert seen.returncode == 0, seen.stderr
    config = json.loads((home / "runs" / "my [1]" / "model" / "config.json").read_text("utf-8"))
    assert set(config["label_names"]) == set(CLASSES)
    page = (home / "names [1]" / "report.html").read_text("utf-8")
    assert "猫" in page and "<x>" not in page
