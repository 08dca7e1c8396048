"""A foreign config.json may claim any size: what is built from it may not outgrow the weights beside it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

_MORE = 2  # times what the file holds: a classifier is built before another takes its place
_HEAD = 2**24  # numbers of such a classifier
_SIZES = ("num_classes", "model_args", "decision", "competition")  # parts of a config.json that have some


@contextmanager
def no_larger_than(weights: Path, claimed: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block networks are built whose parameters are no more than about those in the file `weights`.

    A parameter takes memory when it is filled; it is counted before that.

    Args:
        claimed: the config.json; sizes in it are looked at before anything is built.

    Raises:
        ValueError: a size that the file cannot have, or more parameters.
    """
    with safe_open(weights, "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118  (no mapping)
    tensors, numbers = len(shapes), sum(math.prod(shape) for shape in shapes)
    most = max(numbers, _HEAD)
    for name, value in claimed.items():
        if name in _SIZES and any(abs(number) > most for number in _numbers(value)):
            raise _refusal(weights, numbers, f"{name}: {value!r:.200}")
    built = [0, 0]

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            built[0] += 1
            built[1] += parameter.numel()
            if built[0] > _MORE * tensors + 1000 or built[1] > _MORE * numbers + _HEAD:
                raise _refusal(weights, numbers, f"a network with a {name} {list(parameter.shape)} too many")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _refusal(weights: Path, numbers: int, got: str) -> ValueError:
    return ValueError(
        f"Expected config.json to describe the network whose {numbers:,} numbers are in {str(weights)!r} but got "
        f"{got}; fetch the folder again"
    )


def _numbers(value: Any) -> Iterator[float]:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, int | float):
        yield value
    for part in parts:
        yield from _numbers(part)
