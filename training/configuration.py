"""The options of a run as the YAML that `lwta fit -c` reads, also where the run was started from Python."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from .data_options import MOVED as MOVED_DATA

if TYPE_CHECKING:  # a run's folder needs Lightning, which takes seconds to import
    from .run_folder import Run

# keys of `model` that the first version had, and where they stand now
_GROUPS = {
    "competition": ("layout", "noise", "temperature", "inference", "estimator"),
    "start": ("pretrained", "initial_weights", "initial_gain", "model_args"),
    "optimizer": (
        *("opt", "lr", "weight_decay", "opt_args"),
        *("sched", "warmup_epochs", "warmup_lr", "min_lr", "sched_args"),
    ),
    "loss": ("label_smoothing", "kl_weight"),
    "execution": ("samples", "compile", "channels_last"),
}
_RENAMED = {"noise": "noise_scale", "initial_weights": "weights", "initial_gain": "gain"}
MOVED = {f"model.{old}": f"model.{group}.{_RENAMED.get(old, old)}" for group, keys in _GROUPS.items() for old in keys}
MOVED |= {f"data.{old}": f"data.{new}" for old, new in MOVED_DATA.items()}


class Configured(Protocol):
    """Something that remembers the options it was made with."""

    options: dict[str, Any]


def options_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the `locals()` of a constructor, as plain values."""
    return {name: _plain(value) for name, value in arguments.items() if name not in ("self", "__class__")}


def configuration(classifier: Configured, data: Configured, run: "Run", trainer: Mapping[str, Any]) -> str:
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
        FileNotFoundError: there is none. ValueError: it is no run's configuration.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected the configuration of a run but found no {str(path)!r}")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"Expected a run's configuration in {str(path)!r} but it is damaged: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"Expected a run's configuration in {str(path)!r} but it is empty")
    for section in ("model", "data"):
        config[section] = _translated(section, config.get(section) or {})
    return config


def _translated(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` with the keys of the first version moved into their groups, a schedule's start to its competition."""
    now: dict[str, Any] = {}
    for key, value in options.items():
        moved = MOVED.get(f"{section}.{key}")
        if moved is None or (isinstance(value, Mapping) and moved.startswith(f"{section}.{key}.")):
            now[key] = value
        elif value is not None or key == "test_split":  # None: there is none
            _, group, name = moved.split(".")
            if group == "competition" and isinstance(value, dict):
                now.setdefault("annealing", {})[name] = {k: v for k, v in value.items() if k != "start"}
                value = value["start"]
            now.setdefault(group, {})[name] = value
    return now


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
