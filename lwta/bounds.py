"""What numbers and places of a command may be: an option's name says it, the same in every command."""

from collections.abc import Mapping
from typing import Any

from competition_layers.checks import check_number
from competition_layers.files import check_place

_COUNT: dict[str, float] = {"least": 1}
BOUNDS: dict[str, dict[str, float]] = {
    "batch_size": _COUNT,
    "hidden": _COUNT,
    "image_size": _COUNT,
    "limit": _COUNT,
    "max_calls": _COUNT,
    "pictures": _COUNT,
    "samples": _COUNT,
    "size": _COUNT,
    "top": _COUNT,
    "epochs": {"above": 0},  # some commands take a fraction
    "least_r": {"least": 0, "most": 1},
    "lr": {"least": 0},
    "reestimate_batch_norm": {"least": 0},
    "seed": {"least": 0, "most": 2**32 - 1},
    "tolerance": {"above": 0},
}


def check_options(values: Mapping[str, Any]) -> None:
    """Refuse numbers out of bounds, and an `out` that cannot be written, before anything heavy is imported.

    >>> check_options({"top": 0})
    Traceback (most recent call last):
    ValueError: Expected --top to be a number >= 1 but got 0
    """
    for name, value in values.items():
        if name in BOUNDS and value is not None:
            check_number(f"--{name}", value, **BOUNDS[name])
    if values.get("out") is not None:
        check_place(values["out"])
