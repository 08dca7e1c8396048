"""What is taken of a config.json that somebody sent: plain values under known keys; nothing else is read or fetched."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# of timm's PretrainedCfg: what describes pictures and classes. Where weights lie, and how they are loaded, is left out
_DESCRIPTIVE = frozenset(
    {
        "architecture",
        "tag",
        "input_size",
        "test_input_size",
        "min_input_size",
        "fixed_input_size",
        "interpolation",
        "crop_pct",
        "test_crop_pct",
        "crop_mode",
        "mean",
        "std",
        "num_classes",
        "label_offset",
        "label_names",
        "label_descriptions",
        "pool_size",
        "test_pool_size",
        "first_conv",
        "classifier",
        "license",
        "description",
        "origin_url",
        "paper_name",
        "paper_ids",
        "notes",
    }
)
# what timm's factory takes for itself: sources of weights, caches, functions
_OF_THE_FACTORY = frozenset(
    {
        "model_name",
        "model_cls",
        "variant",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "pretrained_strict",
        "model_cfg",
        "pretrained_filter_fn",
        "pretrained_model_args",
        "pretrained_custom_load",
        "checkpoint_path",
        "cache_dir",
        "scriptable",
        "exportable",
        "no_jit",
        "feature_cfg",
        "features_only",
        "out_indices",
        "kwargs_filter",
        "filter_fn",
        "strict",
        "url",
        "file",
        "state_dict",
        "weights",  # torchvision's
        "weights_backbone",
        "progress",
        "hf_hub_id",
        "hf_hub_filename",
        "source",
        "custom_load",
        "device",
        "dtype",
    }
)
_PLAIN_WORD = re.compile(r"[\w.+-]*")  # no path, no address, no `package:function`


def read_config(path: Path) -> dict[str, Any]:
    """A config.json, whose parts the functions below take."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected JSON in {str(path)!r} but got something else: {error}; fetch it again") from error
    if not isinstance(config, dict):
        raise ValueError(f"Expected an object of names in {str(path)!r} but got a {type(config).__name__}")
    return config


def plain_architecture(name: object) -> str:
    """The name of an architecture, never of a folder or a hub."""
    if not isinstance(name, str) or not _PLAIN_WORD.fullmatch(name):
        raise ValueError(f"Expected config.json to name one of timm's architectures but got {name!r}")
    return name


def plain_backbone(name: object) -> str:
    """The name of one of timm's architectures, of `torchvision:NAME`, or of a function `package.module:function`.

    It is a name: whether a function is called is for whoever reads it to ask a person.
    """
    origin, _, own = name.rpartition(":") if isinstance(name, str) else ("", "", "")
    return f"{plain_architecture(origin)}:{plain_architecture(own)}" if origin else plain_architecture(name)


def plain_pretrained_cfg(cfg: object) -> dict[str, Any]:
    """Of timm's pretrained_cfg, what describes pictures and classes; everything else is dropped."""
    entries = cfg.items() if isinstance(cfg, Mapping) else ()
    return {key: value for key, value in entries if key in _DESCRIPTIVE and value is not None and _is_plain(value, str)}


def plain_model_args(args: object) -> dict[str, Any]:
    """The arguments of an architecture: numbers, words, and lists and mappings of them.

    Raises:
        ValueError: a key that tells timm what to read, fetch or call; a value that is not plain.
    """
    if not isinstance(args, Mapping):
        raise ValueError(f"Expected model_args to map names to values but got {args!r}")
    for key, value in args.items():
        if key in _OF_THE_FACTORY:
            raise ValueError(
                f"Expected model_args that shape a network but got {key!r}, which tells timm what to load; "
                "take it out of config.json if you trust where the file comes from"
            )
        if not _is_plain(value, _PLAIN_WORD):
            raise ValueError(f"Expected model_args.{key} to be numbers and words but got {value!r}")
    return dict(args)


def _is_plain(value: object, words: type[str] | re.Pattern[str]) -> bool:
    if isinstance(value, str):
        return words is str or bool(_PLAIN_WORD.fullmatch(value))
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and k not in _OF_THE_FACTORY for k in value) and all(
            _is_plain(v, words) for v in value.values()
        )
    if isinstance(value, list | tuple):
        return all(_is_plain(v, words) for v in value)
    return value is None or isinstance(value, bool | int | float)
