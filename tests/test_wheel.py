"""The wheel works where the checkout is not: another environment, and a folder with a `training/` of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repository)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr + built.stdout
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """An environment with the wheel and the libraries of this one, but without the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", query], capture_output=True, text=True, check=True).stdout.strip())
    # a path file read by `site` would be followed, and so lead to the checkout; a plain entry on the path is not
    libraries = sysconfig.get_path("purelib")
    (site / "libraries.pth").write_text(f"import sys; sys.path.append({libraries!r})\n")
    install(wheel, python)
    return python


def install(wheel, python):
    """Without its dependencies, by whichever installer there is."""
    uv = ["pip", "install", "--offline", "--no-deps", "--python", str(python), str(wheel)]
    pip = ["pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    for command in (["uv", *uv], [sys.executable, "-m", "uv", *uv], [sys.executable, "-m", *pip]):
        if shutil.which(command[0]) and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
    pytest.fail("Expected uv or pip to install the wheel but neither did")


@pytest.fixture
def desk(tmp_path):
    """A working folder with packages of our names."""
    for name in ("training", "configs", "dissect"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('somebody else')\n")
    return tmp_path


def run(program, cwd, *arguments):
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return subprocess.run([program, *arguments], cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def ask(python, cwd, code):
    """Run code as the `lwta` command does: the working folder is not on its path."""
    seen = run(python, cwd, "-P", "-c", code)
    assert seen.returncode == 0, seen.stderr
    return seen.stdout


def test_the_wheel_ships_code_and_data_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"competition_layers", "pictures", "training", "dissect", "configs", "lwta"}
    assert [name for name in names if "__pycache__" in name or name.endswith((".pt", ".pth", ".ckpt"))] == []


def test_everything_that_git_keeps_in_the_packages_is_in_the_wheel(wheel, repository):
    rooms = ("competition_layers", "pictures", "training", "dissect", "configs", "lwta")
    command = ["git", "ls-files", "-z", "--", *rooms]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    kept = {name for name in listed.stdout.split("\0") if name and (repository / name).exists()}
    assert kept - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_the_command_runs_beside_packages_of_our_names(elsewhere, desk):
    seen = run(elsewhere.with_name("lwta"), desk, "--help")
    assert seen.returncode == 0, seen.stderr
    assert "doctor" in seen.stdout
    assert ask(elsewhere, desk, "import lwta, dissect; print(dissect.__file__)").startswith(str(elsewhere.parents[1]))


def test_the_doctor_says_that_a_script_started_there_would_meet_them(elsewhere, desk):
    seen = run(elsewhere.with_name("lwta"), desk, "doctor")
    assert f"find {desk / 'training'}" in seen.stdout
    assert "PYTHONSAFEPATH=1" in seen.stdout
    assert seen.returncode == 0, seen.stdout


def test_recipes_are_found(elsewhere, desk):
    code = "from importlib.resources import files; print(*[p.name for p in (files('configs') / 'train').iterdir()])"
    assert ".yaml" in ask(elsewhere, desk, code)


def test_word_lists_are_found(elsewhere, desk, repository):
    name = min((repository / "configs" / "concepts").glob("*.txt")).stem
    code = f"from dissect.encoders.concepts import load_concepts; print(len(load_concepts({name!r}).names))"
    assert int(ask(elsewhere, desk, code)) > 0


def test_the_bundled_clip_is_found(elsewhere, desk):
    code = "from dissect.encoders.loading import load_encoder; print(load_encoder('bundled').identity)"
    assert ask(elsewhere, desk, code).strip()


def test_templates_are_found(elsewhere, desk, repository):
    kept = {
        path.name
        for path in (repository / "dissect" / "report").rglob("*")
        if path.suffix in (".j2", ".html", ".css", ".js")
    }
    code = "import dissect.report as r, pathlib; print(*[p.name for p in pathlib.Path(r.__file__).parent.rglob('*')])"
    assert kept
    assert kept <= set(ask(elsewhere, desk, code).split())
