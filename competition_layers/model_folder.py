"""A model on disk: weights, config.json, a card. What is written can be read; what others wrote can do no harm."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .backbones import build, create_model
from .claimed_sizes import no_larger_than
from .competition import Competition
from .decision import SITE, DecisionLayer, add_decision
from .entries import entry_of, find_folder
from .files import write_folder
from .foreign import plain_backbone, plain_model_args, plain_pretrained_cfg, read_config
from .gates import add_gate, gates
from .origins import is_function, split_word
from .spec import OURS, ModelSpec, model_card, site_config, spec_of
from .surgery import swap_activations
from .wiring.sites import Site

FORMAT = 3  # of config.json; a newer one is refused by name; 3 knows twins (`activation` of a site)
EDITS = "edits.json"  # what `lwta edit` did, in a model that it wrote
_FILES = ("model.safetensors", "config.json", "README.md", EDITS)


def save_model(
    model: nn.Module,
    folder: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    card: str = "",
    edited: Mapping[str, Any] | None = None,
    **notes: Any,
) -> Path:
    """Write `model.safetensors`, `config.json` and a model card, whole or not at all; an older `folder` is replaced.

    What torch.compile or DistributedDataParallel made of a model is unwrapped. What was written is read back before it
    takes its place.

    Args:
        state_dict: weights to write instead of the model's own (averaged ones); say so in `notes`.
        card: text of the model card.
        edited: what was done to its units (`Edited.to_dict()`), kept in config.json and, as a file of edits, beside it.
        notes: further keys of config.json.

    Raises:
        ValueError: a network that its folder could not rebuild (layers exchanged, weights parametrised).
        FileExistsError: `folder` holds files of these names that were not written here.
    """
    model = unwrapped(model)
    spec = _as_it_is(model)
    own = model.state_dict()
    weights = own if state_dict is None else with_known_names(state_dict, own)
    config = {
        "format": FORMAT,
        "architecture": OURS + plain_backbone(spec.architecture),
        "num_classes": spec.num_classes,
        "label_names": list(spec.label_names),
        "model_args": plain_model_args(spec.model_args),
        "pretrained_cfg": plain_pretrained_cfg(spec.pretrained_cfg),
        "competition": {
            "format": FORMAT,
            "sites": [site_config(model, site) for site in spec.sites],
            "left_out": dict(spec.left_out),
        },
        **({} if spec.decision is None else {"decision": asdict(spec.decision)}),
        **({"gates": list(gates(model))} if gates(model) else {}),
        **({"unit_names": {k: dict(v) for k, v in spec.unit_names.items()}} if spec.unit_names else {}),
        **({} if edited is None else {"edited": edited}),
        **notes,
    }
    with write_folder(folder, names=_FILES, ours=_is_ours) as temporary:
        save_file({k: v.detach().contiguous().cpu().clone() for k, v in weights.items()}, temporary / _FILES[0])
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card or model_card(spec, config), encoding="utf-8")
        if edited is not None:
            (temporary / EDITS).write_text(json.dumps(edited, indent=1) + "\n", encoding="utf-8")
        try:
            with torch.random.fork_rng(devices=[]):  # building draws weights, which training must not notice
                word = f"{spec.architecture}=" if is_function(spec.architecture) else ""
                load_model(f"{word}{temporary}")
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(
                f"Expected a network that lwta can rebuild from {spec.architecture!r} and its sites but got another: "
                f"{' '.join(str(error).split())[:300]} ... Undo what changed it (parametrisations, exchanged layers), "
                "or keep its state_dict() instead"
            ) from error
    return Path(folder)


def load_model(source: str | Path, *, random_weights: bool = False) -> nn.Module:
    """The model of a run folder, a model folder, `hf-hub:OWNER/NAME` or `local-dir:PATH`; in evaluation mode.

    A folder or hub entry in timm's own format, a bare name of timm's or torchvision's (its pretrained weights; none
    with `random_weights`), and `package.module:function`, give the dense network. Weights are read from safetensors
    only, and of config.json only what describes the network: it makes nothing else be read, fetched or called. A folder
    whose backbone is a function is opened by your word for it alone: `package.module:function=FOLDER`.

    Raises:
        FileNotFoundError: a folder without a model. ValueError: an unknown name, a newer format, a config.json that
            asks for more, for a function without your word, or for a network larger than the weights beside it.
    """
    word, source = split_word(str(source))
    if not source.startswith("hf-hub:") and find_folder(source) is None:
        return create_model(source, competitors=1, pretrained=not random_weights).eval()
    place = entry_of(source)
    config = read_config(place("config.json"))
    if not str(config.get("architecture", "")).startswith(OURS):
        name = source if source.startswith("hf-hub:") else f"local-dir:{find_folder(source)}"
        with nullcontext() if random_weights else no_larger_than(place("model.safetensors"), config):
            return create_model(name, competitors=1, pretrained=not random_weights).eval()
    if config["format"] > FORMAT:
        raise ValueError(
            f"Expected a model of format {FORMAT} or older but got {config['format']}; update lwta to read {source}"
        )
    _check_word(word, plain_backbone(str(config["architecture"]).removeprefix(OURS)), source)
    with nullcontext() if random_weights else no_larger_than(place("model.safetensors"), config):
        model = _build(config)
    if not random_weights:
        model.load_state_dict(with_known_names(load_file(place("model.safetensors")), model.state_dict()))
    return model.eval()


def _check_word(word: str, backbone: str, source: str) -> None:
    """A function that a config.json names is called where a person says the same name, and never else."""
    if is_function(backbone) and backbone != word:
        raise ValueError(
            f"Expected your word that {backbone!r}, the backbone of {source!r}, may be called but got "
            f"{repr(word) if word else 'none'}: a folder runs no code because it says so; if you know that function, "
            f"give {f'{backbone}={source}'!r} (to test and predict: --model.backbone {backbone})"
        )
    if word and backbone != word:
        raise ValueError(f"Expected {source!r} to be of the backbone {word!r} but got {backbone!r}; give {source!r}")


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside what torch.compile and (Distributed)DataParallel made of it."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            return model


def with_known_names(weights: Mapping[str, Tensor], known: Collection[str]) -> dict[str, Tensor]:
    """Weights without what a wrapper put before every name (`module.`, `_orig_mod.`, `model.`), if none is known so.

    >>> list(with_known_names({"module._orig_mod.fc.weight": torch.zeros(1)}, ["fc.weight"]))
    ['fc.weight']
    """
    weights = dict(weights)
    while weights and weights.keys().isdisjoint(known):
        prefixes = {name.partition(".")[0] if "." in name else None for name in weights}
        if len(prefixes) > 1 or None in prefixes:
            break
        weights = {name.partition(".")[2]: value for name, value in weights.items()}
    return weights


def _as_it_is(model: nn.Module) -> ModelSpec:
    """Its spec, with the number of classes that timm's `reset_classifier` gave it since."""
    spec = spec_of(model)
    classes = model.num_classes if hasattr(model, "reset_classifier") else spec.num_classes
    return spec if classes == spec.num_classes else replace(spec, num_classes=classes, label_names=())


def _is_ours(folder: Path) -> bool:
    try:
        return str(read_config(folder / "config.json").get("architecture", "")).startswith(OURS)
    except (OSError, ValueError):
        return False


def _build(config: Mapping[str, Any]) -> nn.Module:
    """The model that a config.json describes, with fresh weights."""
    decision = DecisionLayer(**config["decision"]) if "decision" in config else None
    entries = config["competition"]["sites"]
    spec = ModelSpec(
        architecture=config["architecture"].removeprefix(OURS),
        num_classes=config["num_classes"],
        model_args=config["model_args"],
        label_names=tuple(config["label_names"]),
        pretrained_cfg=plain_pretrained_cfg(config["pretrained_cfg"]),
        sites=tuple(_of(Site, entry) for entry in entries),
        left_out=config["competition"].get("left_out", {}),
        decision=decision,
        unit_names=_unit_names(config.get("unit_names", {})),
    )
    model = build(spec)
    if decision is not None:  # of which it remembers what it was without
        model.lwta = replace(spec, sites=tuple(site for site in spec.sites if site.name != SITE), decision=None)
        add_decision(model, decision)
    for site, entry in zip(spec.sites, entries, strict=True):
        # format 1 wrote `noise` for `noise_scale`, and nothing of it for `competitors: 1`
        competition = _of(Competition, {"noise_scale" if key == "noise" else key: v for key, v in entry.items()})
        swap_activations(model, entry["competitors"], sites=[site], competition=competition)
    for layer in _gated(config.get("gates", []), spec.sites):
        add_gate(model, layer.name, layer.width or 0, channel_dim=layer.channel_dim)
    model.lwta = spec
    return model


def _gated(names: Any, sites: Sequence[Site]) -> list[Site]:
    """The sites that have a gate, by what a config.json says of them."""
    known = {site.name: site for site in sites}
    if not isinstance(names, list) or not set(map(str, names)) <= known.keys():
        raise ValueError(f"Expected gates of config.json to be names of its sites but got {names!r}")
    return [known[name] for name in names]


def _unit_names(said: Any) -> dict[str, dict[str, str]]:
    """Names of units that a person gave, by layer and number, by what a config.json says of them."""
    layers = said.values() if isinstance(said, dict) else [None]
    if not all(isinstance(units, dict) and all(isinstance(name, str) for name in units.values()) for units in layers):
        raise ValueError(f"Expected unit_names of config.json to be names by layer and unit but got {said!r}")
    return {layer: dict(units) for layer, units in said.items()}


def _of(kind: Any, entry: Mapping[str, Any]) -> Any:
    return kind(**{field.name: entry[field.name] for field in fields(kind) if field.name in entry})
