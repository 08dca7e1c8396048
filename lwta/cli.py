"""`lwta COMMAND ...`: looks the command up in a table, imports that one module, and shows mistakes as one line.

The table is text, so that `lwta --help` answers at once: torch alone takes seconds to import.
"""

import os
import signal
import sys
import traceback
from argparse import ArgumentError
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

from competition_layers.files import os_error_in_words
from competition_layers.terminal import plain

from .processes import STOPPED, end_with_launcher

COMMANDS = {
    "demo": ("lwta.commands.demo", "everything once, offline, on the built-in scenes; ends with the report's path"),
    "fit": ("lwta.commands.fit", "train a network:  lwta fit -c configs/train/NAME.yaml --run NAME"),
    "validate": ("lwta.commands.fit", "its accuracy on the validation images"),
    "test": ("lwta.commands.fit", "its accuracy on the test images"),
    "predict": ("lwta.commands.fit", "its classes for other images"),
    "convert": (
        "lwta.commands.convert",
        "a trained dense network to a sparse one:  lwta convert MODEL --data DIR --run NAME",
    ),
    "describe": ("lwta.commands.describe", "name the units of a network with a vision-language model"),
    "describe-train": (
        "lwta.commands.describe_train",
        "teach a describer from described units:  lwta describe-train milan --out DIR",
    ),
    "find": ("lwta.commands.find", 'the units that answer to a phrase:  lwta find "a red boat" --dissection DIR'),
    "judge": ("lwta.commands.judge", "how good descriptions are: held-out images, controls, known objects"),
    "exemplars": ("lwta.commands.exemplars", "top images and masks of a dissection, in MILAN's layout"),
    "tables": ("lwta.commands.tables", "the names of a dissection as other tools' tables:  --form dnd|milan|cosy|..."),
    "units": ("lwta.commands.units", "a page of all units of a dissection, to search and to look at"),
    "explain": ("lwta.commands.explain", "the few units that decided about an image, and what each did"),
    "compare": ("lwta.commands.compare", "networks against each other: a table and a page"),
    "edit": ("lwta.commands.edit", 'units off, scaled, limited, renamed:  lwta edit MODEL --off "a name" --out DIR'),
    "export": ("lwta.commands.export", "the network as a torch.export or ONNX file, compared with the original"),
    "push": ("lwta.commands.push", "a network, its card and its names to a hub:  lwta push RUN OWNER/NAME"),
    "doctor": ("lwta.doctor", "what is installed, what is missing, and the command that mends it"),
}
_INTERRUPTED = 130  # 128 and the signal's number
_ROOMS = frozenset({"lwta", "pictures", "training", "dissect", "competition_layers", "configs"})


def main(argv: list[str] | None = None) -> int:
    """Run one command; exit status: 0 done, 1 the command says no, 2 a mistake in what was asked, 130 or 143 a stop."""
    if argv is None:
        _decode_names_as_utf8()
        argv = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot print a name shows its escape, and work goes on
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    command, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(_help())
        return 0
    if command in ("-V", "--version"):
        print(f"lwta {version('lwta')}")
        return 0
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, n=1, cutoff=0.4)
        return _refuse(f"Expected a command but got {command!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    return _run(command, rest)


def _decode_names_as_utf8() -> None:
    """Start this command anew in Python's UTF-8 mode where the locale (Latin-1, or C by force) would decode otherwise.

    Else a class `é` is trained as two other letters or as its bytes, and a run whose configuration holds a folder of
    that name cannot be read. What is printed keeps the terminal's encoding.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


class _Stopped(BaseException):
    """SIGTERM: a scheduler's time limit, `docker stop`."""


def _run(command: str, rest: list[str]) -> int:
    module = COMMANDS[command][0]
    if module == "lwta.commands.fit":
        rest = [command, *rest]
    end_with_launcher()
    stopped, process = [], os.getpid()

    def stop(*_: object) -> None:
        stopped.append(os.getpid())
        if os.getpid() != process:
            os._exit(STOPPED)  # a loader's process, which has nothing to say
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)  # Lightning's own handler would end as if all were done
    try:
        return import_module(module).main(rest) or 0
    except (KeyboardInterrupt, _Stopped):
        return _say_stopped(command, by_signal=bool(stopped))
    except Exception as error:
        if stopped:  # its loaders were stopped too, and that is what broke
            return _say_stopped(command, by_signal=True)
        if os.environ.get("LWTA_TRACEBACK") or not _is_for_people(error):
            raise
        message = os_error_in_words(error) if isinstance(error, OSError) else str(error)
        hint = "`lwta doctor` checks the installation" if isinstance(error, ImportError) else ""
        return _refuse(message, hint=hint)
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_stopped(command: str, *, by_signal: bool) -> int:
    kept = "; what was done is kept: the same command goes on" if command == "describe" else ""
    print(f"\nlwta: {command} was {'stopped' if by_signal else 'interrupted'}{kept}", file=sys.stderr)
    return STOPPED if by_signal else _INTERRUPTED


def _is_for_people(error: Exception) -> bool:
    """A mistake in what was asked, not a bug: refused options, files, and what our own code says of a value."""
    if isinstance(error, ValueError):
        innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
        return innermost.f_globals.get("__name__", "").split(".")[0] in _ROOMS
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, of options that do not go together
        return True
    return isinstance(error, (ArgumentError, OSError, ImportError))


def _refuse(message: str, *, hint: str = "") -> int:
    message = "\n".join(plain(line) for line in message.split("\n"))
    print(f"lwta: error: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(
        [
            "Train image classifiers whose units compete, name the units, explain the few that decided.",
            "",
            "usage: lwta COMMAND [options]",
            "",
            *lines,
            "",
            "`lwta COMMAND --help` lists a command's options; all of them can stand in a YAML file: -c FILE.",
            "LWTA_TRACEBACK=1 shows where an error came from.",
        ]
    )
