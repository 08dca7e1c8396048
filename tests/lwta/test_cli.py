"""The command line answers at once, and says what to do about a mistake."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from types import ModuleType

import pytest

from lwta import cli

HEAVY = ("torch", "timm", "open_clip", "lightning", "torchvision", "numpy", "jsonargparse")


@pytest.fixture
def command(monkeypatch):
    """Let `lwta demo` be a function."""

    def install(main):
        module = ModuleType("lwta._fake")
        module.main = main
        monkeypatch.setitem(sys.modules, "lwta._fake", module)
        monkeypatch.setitem(cli.COMMANDS, "demo", ("lwta._fake", ""))

    return install


def test_help_imports_nothing_heavy_and_answers_within_a_second():
    code = f"import sys; from lwta.cli import main; main(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    times = []
    for _ in range(2):  # the first may compile
        start = time.perf_counter()
        seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
    assert seen.stdout.splitlines()[-1] == "[]"
    assert min(times) < 1


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == cli.main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(cli.COMMANDS) * 2


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_exists(name):
    assert find_spec(cli.COMMANDS[name][0]) is not None


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lwta ")


def test_an_unknown_command_offers_the_nearest(capsys):
    assert cli.main(["descrieb"]) == 2
    assert capsys.readouterr().err == "lwta: error: Expected a command but got 'descrieb', did you mean 'describe'?\n"


def test_python_m_is_the_same_command():
    seen = subprocess.run([sys.executable, "-m", "lwta", "nonsense"], capture_output=True, text=True, check=False)
    assert seen.returncode == 2
    assert seen.stderr.startswith("lwta: error: Expected a command but got 'nonsense'")


def test_arguments_and_status_are_handed_on(command):
    seen = []
    command(lambda argv: seen.append(argv) or 7)
    assert cli.main(["demo", "--quick"]) == 7
    assert seen == [["--quick"]]


@pytest.mark.parametrize("name", ["fit", "validate", "test", "predict"])
def test_training_commands_share_a_module_and_tell_it_which(name, monkeypatch):
    seen = []
    module = ModuleType("lwta.commands.fit")
    module.main = seen.append
    monkeypatch.setitem(sys.modules, "lwta.commands.fit", module)
    assert cli.main([name, "-c", "x.yaml"]) == 0
    assert seen == [[name, "-c", "x.yaml"]]


def test_a_mistake_is_one_line(command, capsys, monkeypatch):
    def main(argv):
        raise FileNotFoundError("Expected a folder but got 'x'")

    monkeypatch.delenv("LWTA_TRACEBACK", raising=False)
    command(main)
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "lwta: error: Expected a folder but got 'x'\n"


def test_a_traceback_is_to_be_had(command, monkeypatch):
    def main(argv):
        raise FileNotFoundError("x")

    monkeypatch.setenv("LWTA_TRACEBACK", "1")
    command(main)
    with pytest.raises(FileNotFoundError):
        cli.main(["demo"])


def test_a_bug_keeps_its_traceback(command):
    def main(argv):
        raise ValueError("not raised by our code, but by this test")

    command(main)
    with pytest.raises(ValueError, match="not raised by our code"):
        cli.main(["demo"])


def test_a_broken_installation_is_sent_to_the_doctor(command, capsys, monkeypatch):
    def main(argv):
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.delenv("LWTA_TRACEBACK", raising=False)
    command(main)
    assert cli.main(["demo"]) == 2
    assert "lwta doctor" in capsys.readouterr().err


def test_an_interruption_is_one_line(command, capsys):
    def main(argv):
        raise KeyboardInterrupt

    command(main)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "\nlwta: demo was interrupted\n"


def test_a_command_that_is_stopped_by_a_scheduler_says_so(command, capsys):
    def main(argv):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    command(main)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["demo"]) == 143
    assert capsys.readouterr().err == "\nlwta: demo was stopped\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_that_goes_on_says_so_when_it_is_stopped(command, capsys, monkeypatch):
    def main(argv):
        raise KeyboardInterrupt

    command(main)
    monkeypatch.setitem(cli.COMMANDS, "describe", cli.COMMANDS["demo"])
    cli.main(["describe"])
    told = "lwta: describe was interrupted; what was done is kept: the same command goes on"
    assert capsys.readouterr().err == f"\n{told}\n"


def test_what_breaks_because_of_the_stop_is_no_bug(command, capsys):
    def main(argv):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            raise RuntimeError("DataLoader worker is killed by signal: Terminated")

    command(main)
    assert cli.main(["demo"]) == 143
    assert capsys.readouterr().err == "\nlwta: demo was stopped\n"


def test_options_that_do_not_go_together_are_one_line(command, capsys, monkeypatch):
    class MisconfigurationException(Exception):  # noqa: N818  (Lightning's name)
        pass

    def main(argv):
        raise MisconfigurationException("Both cannot be")

    monkeypatch.delenv("LWTA_TRACEBACK", raising=False)
    command(main)
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "lwta: error: Both cannot be\n"


@pytest.mark.parametrize(
    "typed",
    [["fit", "--model.optimizer.lrr", "1"], ["test", "--trainer.max_ep", "1"], ["fit", "-c", "nothing.yaml"]],
)
def test_a_slip_in_training_options_is_answered_before_anything_heavy_is_imported(typed):
    code = f"import sys; from lwta.cli import main; main({typed!r}); print([m for m in {HEAVY!r} if m in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.splitlines()[-1] == "[]"
    assert seen.stderr.startswith("lwta: error: Expected ")
