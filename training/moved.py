"""The keys of the first version's configurations, and where they stand now. Imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

_GROUPS = {
    "model": {
        "competition": ("layout", "noise", "temperature", "inference", "estimator"),
        "start": ("pretrained", "initial_weights", "initial_gain", "model_args"),
        "optimizer": (
            *("opt", "lr", "weight_decay", "opt_args"),
            *("sched", "warmup_epochs", "warmup_lr", "min_lr", "sched_args"),
        ),
        "loss": ("label_smoothing", "kl_weight"),
        "execution": ("samples", "compile", "channels_last"),
    },
    "data": {
        "dataset": ("dataset", "dataset_args", "download", "class_names"),
        "splits": ("train_split", "val_split", "test_split", "val_fraction", "split_seed", "subset"),
        "loading": ("batch_size", "workers", "cache", "on_bad"),
    },
}
_RENAMED = {"noise": "noise_scale", "initial_weights": "weights", "initial_gain": "gain"}
_RENAMED |= {"dataset": "name", "dataset_args": "args"}
_RENAMED |= {"train_split": "train", "val_split": "val", "test_split": "test", "split_seed": "seed"}
MOVED = {
    f"{section}.{old}": f"{section}.{group}.{_RENAMED.get(old, old)}"
    for section, groups in _GROUPS.items()
    for group, keys in groups.items()
    for old in keys
}


def translated(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` of `model` or `data` with their keys moved into groups, a schedule's start to its competition."""
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
