"""What README.md tells people to type, typed: smaller, and with what is here in the place of what is on hubs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
# README | here: sizes that suit a test; the bundled encoder, since OpenAI's weights are on a hub
SMALLER = {
    "4000": "60",
    '"val": 400, "probe": 1000, "test": 400': '"val": 20, "probe": 40, "test": 20',
    "epochs=4": "epochs=1",
    "imagenet1k": "scenes",
    "ViT-B-32/openai": "bundled",
}
TINY = ["--trainer.max_epochs=1", "--model.image_size=32", "--data.splits.val_fraction=0.3", "--data.loading.workers=0"]


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [shrunk(block) for said, block in found if said == language]


def shrunk(text: str) -> str:
    for there, here in SMALLER.items():
        text = text.replace(there, here)
    return text


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)  # trains for minutes
def test_the_python_of_the_readme_runs_from_a_timm_name_to_an_explanation(tmp_path):
    (code,) = blocks("python")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20
    (tmp_path / "first.py").write_text(code)
    said = run([sys.executable, "first.py"], tmp_path)
    assert "ClassScore(" in said
    assert "UnitEffect(" in said


@pytest.mark.slow
@pytest.mark.timeout(900)  # six commands
def test_the_commands_of_the_readme_run_on_a_folder_of_ones_own(tmp_path):
    from pictures.scenes import write_scenes

    write_scenes(tmp_path / "PHOTOS", splits={"train": 60, "test": 30}, processes=1, progress=False)
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("lwta ")]
    assert [line.split()[1] for line in lines] == ["fit", "fit", "test", "describe", "explain", "compare"]
    for line in lines:
        words = shlex.split(line.replace("CLASS", "beach"))
        tiny = TINY if words[1] == "fit" else []
        said = run([sys.executable, "-m", *words, *tiny], tmp_path)
        assert said
    assert (tmp_path / "photo-names" / "report.html").stat().st_size > 20_000
    assert (tmp_path / "comparison.html").is_file()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_knows_the_two_commands(target):
    assert f"make {target}" in README.read_text("utf-8")
    assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text("utf-8"), re.MULTILINE)
