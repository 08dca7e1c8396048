"""Recipes by name, and what may change when a run is taken up again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import configs
from competition_layers.names import nearest
from training.options_file import read_options

# the machine may change, and where the data lie on it
_MACHINE = ("data.data_dir", "data.loading.", "trainer.enable_progress_bar", "trainer.accelerator")
# how long a run goes on and on how many devices may change too: it is said, and written down
_GOING_ON = (
    *("trainer.max_epochs", "trainer.max_steps", "trainer.max_time"),
    *("trainer.devices", "trainer.num_nodes", "trainer.strategy"),
)
# reading a trained network may also differ in what is read, and how
_READING = ("data.", "trainer.", "model.execution.")
_NOT_COMPARED = ("config", "run", "runs_dir", "resume", "overwrite", "images", "out", "sweep")


def find_recipe(args: Sequence[str]) -> list[str]:
    """`args`, where `-c NAME` that is no file becomes the recipe of that name which comes with the package.

    Raises:
        FileNotFoundError: neither a file nor a recipe; the nearest recipe is offered.
    """
    found, follows = [], False
    for arg in args:
        flag, equals, value = arg.partition("=")
        if follows or (equals and flag in ("-c", "--config")):
            path = _recipe(arg if follows else value)
            found.append(path if follows else f"{flag}={path}")
        else:
            found.append(arg)
        follows = not follows and arg in ("-c", "--config")
    return found


def recipes() -> dict[str, Path]:
    """The training recipes that come with the package, by file name."""
    folder = Path(configs.__file__).parent / "train"
    return {path.name: path for path in sorted(folder.glob("*.yaml"))}


def changes(saved: Any, asked: Any, *, command: str) -> dict[str, tuple[Any, Any]]:
    """What changes in a run that goes on, by key: the value so far, and the one that was typed.

    What else a run was started with stands: nothing typed later is silently dropped, and nothing is silently changed.

    Raises:
        ValueError: an option differs from the run's; both values are named.
    """
    allowed = _MACHINE if command == "fit" else _READING
    before, changed = dict(_leaves(saved)), {}
    for key, value in _leaves(asked):
        if key.startswith(_NOT_COMPARED) or key.startswith(allowed) or before.get(key) == value:
            continue
        if not key.startswith(_GOING_ON):
            raise ValueError(
                f"Expected --{key} as the run was started with, {before.get(key)!r}, but got {value!r}; "
                "start a new run with it (-c RUN/config.yaml --run OTHER)"
            )
        changed[key] = (before.get(key), value)
    return changed


def refuse_orders(path: Path) -> None:
    """A recipe may be somebody else's: whether a run is replaced is typed, or not done.

    Raises:
        ValueError: the file says `overwrite`, or is no YAML mapping.
    """
    if read_options(path).get("overwrite"):
        raise ValueError(f"Expected --overwrite to be typed but {str(path)!r} asks for it: a file replaces no run")


def _recipe(name: str) -> str:
    if "\n" in name:  # options themselves
        return name
    if Path(name).is_file():
        refuse_orders(Path(name))
        return name
    known = recipes()
    recipe = known.get(Path(name).name) or known.get(f"{Path(name).name}.yaml")
    if recipe is None:
        raise FileNotFoundError(f"Expected a YAML file or a recipe but got {name!r}{nearest(name, known)}")
    return str(recipe)


def _leaves(config: Any) -> Iterator[tuple[str, Any]]:
    # a namespace's items are its leaves, by dotted key
    yield from ((key, value) for key, value in config.items())
