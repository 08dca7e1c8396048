"""The options of a run as the YAML that `lwta fit -c` reads, also where the run was started from Python."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from .moved import translated
from .options_file import read_options
from .run_folder import Run


class Configured(Protocol):
    """Something that remembers the options it was made with."""

    options: dict[str, Any]


def options_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the `locals()` of a constructor, as plain values."""
    return {name: _plain(value) for name, value in arguments.items() if name not in ("self", "__class__")}


def configuration(classifier: Configured, data: Configured, run: Run, trainer: Mapping[str, Any]) -> str:
    """The whole configuration as YAML; objects handed to the Trainer from Python can only be named in a comment."""
    plain = {name: _plain(value) for name, value in trainer.items() if _is_plain(value)}
    objects = [f"# trainer.{name}: {value!r}" for name, value in trainer.items() if not _is_plain(value)]
    config = {
        "seed_everything": run.seed,
        "model": classifier.options,
        "data": data.options,
        "trainer": plain,
        "reestimate_batch_norm": run.reestimate_batch_norm,
    }
    notes = ["# handed in from Python, not repeated by this file:", *objects] if objects else []
    return "\n".join([yaml.safe_dump(config, sort_keys=False), *notes])


def saved_configuration(path: Path) -> dict[str, Any]:
    """What a run's config.yaml says, in the keys of today; those of the first version are translated.

    Raises:
        FileNotFoundError: there is none. ValueError: it is no mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected the configuration of a run but found no {str(path)!r}")
    config = read_options(path)
    for section in ("model", "data"):
        config[section] = translated(section, config.get(section) or {})
    return config


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
