"""The options of a run as the YAML that `lwta fit -c` reads, also where the run was started from Python."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml


class Configured(Protocol):
    """Something that remembers the options it was made with."""

    options: dict[str, Any]


def options_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the `locals()` of a constructor, as plain values."""
    return {name: _plain(value) for name, value in arguments.items() if name not in ("self", "__class__")}


def configuration(
    classifier: Configured, data: Configured, *, seed: int, reestimate: int, trainer: Mapping[str, Any]
) -> str:
    """The whole configuration as YAML; objects handed to the Trainer from Python can only be named in a comment."""
    plain = {name: _plain(value) for name, value in trainer.items() if _is_plain(value)}
    objects = [f"# trainer.{name}: {value!r}" for name, value in trainer.items() if not _is_plain(value)]
    config = {
        "seed_everything": seed,
        "model": classifier.options,
        "data": data.options,
        "trainer": plain,
        "reestimate_batch_norm": reestimate,
    }
    notes = ["# handed in from Python, not repeated by this file:", *objects] if objects else []
    return "\n".join([yaml.safe_dump(config, sort_keys=False), *notes])


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(inner) for name, inner in asdict(value).items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool | Path)
