"""Numbers of every command have bounds, and one that is out of them is one line before anything heavy is imported."""

import inspect
import subprocess
import sys
from importlib import import_module
from typing import get_args, get_type_hints

import pytest

from lwta.bounds import BOUNDS
from lwta.cli import COMMANDS, main

ELSEWHERE = ("lwta.commands.fit", "lwta.doctor")  # options of classes that check their own; no options


@pytest.mark.parametrize("command", [name for name, (module, _) in COMMANDS.items() if module not in ELSEWHERE])
def test_every_number_of_a_command_has_bounds(command):
    function = getattr(import_module(COMMANDS[command][0]), command.replace("-", "_"))
    hints = get_type_hints(function)
    kinds = {
        name: {hints[name], *get_args(hints[name])} - {type(None)} for name in inspect.signature(function).parameters
    }
    numbers = {name for name, of in kinds.items() if of <= {int, float}}
    assert numbers <= BOUNDS.keys()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("compare a b --data D --batch_size 0", "--batch_size to be a number >= 1 but got 0"),
        ("compare a b --data D --samples 0", "--samples to be a number >= 1 but got 0"),
        ("compare a b --data D --limit -2", "--limit to be a number >= 1 but got -2"),
        ("convert M --run R --epochs .nan", "--epochs to be a number > 0 but got nan"),
        ("convert M --run R --lr .nan", "--lr to be a number >= 0 but got nan"),
        ("convert M --run R --reestimate_batch_norm -1", "--reestimate_batch_norm to be a number >= 0 but got -1"),
        ("describe --model M --probe P --out O --batch_size -1", "--batch_size to be a number >= 1 but got -1"),
        ("describe --model M --probe P --out O --limit 0", "--limit to be a number >= 1 but got 0"),
        ("describe --model M --probe P --out O --least_r .nan", "--least_r to be a number >= 0 and <= 1 but got nan"),
        ("describe-train milan --out O --epochs -1", "--epochs to be a number > 0 but got -1"),
        ("describe-train milan --out O --hidden 0", "--hidden to be a number >= 1 but got 0"),
        ("describe-train milan --out O --pictures 0", "--pictures to be a number >= 1 but got 0"),
        ("describe-train milan --out O --seed -1", "--seed to be a number >= 0 and <= 4.29497e+09 but got -1"),
        ("edit M --off a:1 --out O --batch_size 0", "--batch_size to be a number >= 1 but got 0"),
        ("exemplars D --probe P --out O --size 0", "--size to be a number >= 1 but got 0"),
        ("explain I --model M --top 0", "--top to be a number >= 1 but got 0"),
        (
            "explain I --model M --classes all --live",
            "--classes, a page about all pictures together, alone but got --live with it",
        ),
        ("export M --out O --tolerance .nan", "--tolerance to be a number > 0 but got nan"),
        ("find red --dissection D --top 0", "--top to be a number >= 1 but got 0"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(typed, said, capsys):
    assert main(typed.split()) == 2
    assert capsys.readouterr().err == f"lwta: error: Expected {said}\n"


@pytest.mark.parametrize(
    "typed",
    [
        "compare a b --data D --out {}",
        "describe --model M --probe P --out {}",
        "edit M --off a:1 --out {}",
        "explain I --model M --out {}",
        "export M --out {}",
        "judge D --out {}",
        "units D --out {}",
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(typed, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    place = tmp_path / "file" / "page.html"
    assert main(typed.format(place).split()) == 2
    said = f"Expected to write {str(place)!r} but a file stands where a folder is needed: choose another place"
    assert capsys.readouterr().err == f"lwta: error: {said}\n"


def test_it_is_told_before_anything_heavy_is_imported():
    code = "import sys; from lwta.cli import main; main(['explain', 'I', '--model', 'M', '--top', '0'])"
    seen = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert seen.stdout == "False\n" and "--top" in seen.stderr
