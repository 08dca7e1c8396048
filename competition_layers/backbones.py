"""Any timm model with competitions in it: created, saved, loaded. The only file that imports timm's factory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file, save_file
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from .competition import Competition
from .decision import DecisionLayer, add_decision
from .files import write_folder
from .names import nearest
from .spec import ModelSpec, model_card, site_config, spec_of
from .surgery import swap_activations
from .wiring.sites import Site, Survey, survey

FORMAT = 2  # of config.json; a newer one is refused by name
_OF_A_SITE = tuple(field.name for field in fields(Site))
_PREFIX = "lwta/"  # of `architecture`: plain timm then refuses the file instead of building the dense network


def create_model(
    name: str,
    *,
    competitors: int | Mapping[str, int] = 8,
    pretrained: bool = False,
    num_classes: int | None = None,
    label_names: Sequence[str] = (),
    image_size: int | None = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    competition: Competition = Competition(),
    decision: DecisionLayer | None = None,
    **model_args: Any,
) -> nn.Module:
    """A timm model whose activations compete.

    Args:
        name: any timm name, with or without tag, `hf-hub:OWNER/NAME` or `local-dir:PATH` in timm's format.
        competitors: U, or a mapping of globs on activations to U of which the first that fits counts
            (`{"stages.3.*": 8, "*": 4}`); 1 keeps the backbone's own activations: the dense twin.
        pretrained: load the weights that belong to the name.
        num_classes: of the head; by default what the name's weights were trained for.
        image_size: pixels of a side; by default what the name was made for.
        include, exclude: globs on activations, see `activation_sites`.
        competition: how the units of a group compete.
        decision: a decision layer in the place of the classifier; it competes in the dense twin too.
        model_args: go to timm (`embed_dim=96`, `drop_path_rate=0.1`, ...).

    Raises:
        ValueError: an unknown name (the nearest is offered), a size that the backbone cannot have, or a width that U
            does not divide, both found by one pass of a blank image.

    >>> model = create_model("vit_tiny_patch16_224", competitors=8, num_classes=10, image_size=32, depth=1)
    >>> model.blocks[0].mlp.act.groups
    Groups(competitors=8, channel_dim=-1, layout='strided')
    """
    model, found = _surveyed(name, pretrained, num_classes, image_size, model_args)
    sites = swap_activations(
        model,
        competitors,
        sites=found.sites(include=include, exclude=exclude),
        competition=competition,
    )
    if label_names and len(label_names) != model.num_classes:
        raise ValueError(f"Expected {model.num_classes} label names but got {len(label_names)}")
    labels = tuple(label_names or _label_names(model))
    if decision is not None:
        sites.append(add_decision(model, decision))
    # timm fills model.pretrained_cfg; a sourceless copy of it makes the model's transforms and labels travel with it
    cfg = {
        k: v for k, v in dict(model.pretrained_cfg).items() if v is not None and k not in ("url", "file", "state_dict")
    }
    model.lwta = ModelSpec(
        architecture=cfg.get("architecture", name),
        num_classes=model.num_classes,
        # what timm built it with, a hub entry's own arguments included
        model_args={k: v for k, v in model._model_args.items() if k != "num_classes"},
        label_names=labels,
        pretrained_cfg=cfg,
        sites=tuple(sites),
        left_out=found.left_out(sites),
        decision=decision,
    )
    return model


def save_model(
    model: nn.Module, folder: str | Path, *, state_dict: Mapping | None = None, card: str = "", **notes: Any
) -> Path:
    """Write `model.safetensors`, `config.json` and a model card, whole or not at all; an older `folder` is replaced.

    Args:
        state_dict: weights to write instead of the model's own (averaged ones); say so in `notes`.
        card: text of the model card.
        notes: further keys of config.json.
    """
    spec = spec_of(model)
    weights = model.state_dict() if state_dict is None else state_dict
    config = {
        "format": FORMAT,
        "architecture": _PREFIX + spec.architecture,
        "num_classes": spec.num_classes,
        "label_names": list(spec.label_names),
        "model_args": dict(spec.model_args),
        "pretrained_cfg": dict(spec.pretrained_cfg),
        "competition": {
            "format": FORMAT,
            "sites": [site_config(model, site) for site in spec.sites],
            "left_out": dict(spec.left_out),
        },
        **({} if spec.decision is None else {"decision": asdict(spec.decision)}),
        **notes,
    }
    with write_folder(folder) as temporary:
        save_file(
            {k: v.detach().contiguous().cpu().clone() for k, v in weights.items()}, temporary / "model.safetensors"
        )
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (temporary / "README.md").write_text(card or model_card(spec, config))
    return Path(folder)


def load_model(source: str | Path, *, random_weights: bool = False) -> nn.Module:
    """The model of a run folder, a model folder, `hf-hub:OWNER/NAME` or `local-dir:PATH`; in evaluation mode.

    A folder or hub entry in timm's own format, and a bare timm name (its pretrained weights; none with
    `random_weights`), give the dense network. Weights are read from safetensors only.

    Raises:
        FileNotFoundError: a folder without a model. ValueError: an unknown name, a newer format.
    """
    source = str(source)
    folder = _find_folder(source)
    if folder is None and not source.startswith("hf-hub:"):
        return create_model(source, competitors=1, pretrained=not random_weights).eval()
    config = json.loads(_file(source, folder, "config.json").read_text())
    if not str(config.get("architecture", "")).startswith(_PREFIX):
        name = source if folder is None else f"local-dir:{folder}"
        return create_model(name, competitors=1, pretrained=not random_weights).eval()
    if config["format"] > FORMAT:
        raise ValueError(
            f"Expected a model of format {FORMAT} or older but got {config['format']}; update lwta to read {source}"
        )
    model = _build(config)
    if not random_weights:
        model.load_state_dict(load_file(_file(source, folder, "model.safetensors")))
    return model.eval()


def data_config(model: nn.Module) -> dict[str, Any]:
    """timm's data configuration of `model` (input_size, mean, std, ...), for `timm.data.create_transform`."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in resolve_model_data_config(model).items()}


def model_defaults(name: str, *, image_size: int | None = None) -> dict[str, Any]:
    """The data configuration of a timm name, without building the model."""
    hub = name.startswith(("hf-hub:", "local-dir:"))
    cfg = (
        _timm_model(name, False, None, None, {}).pretrained_cfg
        if hub
        else timm.get_pretrained_cfg(_known(name)).to_dict()
    )
    cfg = {**cfg, **_overlay(image_size)}
    return timm.data.resolve_data_config(pretrained_cfg=cfg)


def _build(config: Mapping[str, Any]) -> nn.Module:
    """The model that a config.json describes, with fresh weights."""
    name = config["architecture"].removeprefix(_PREFIX)
    overlay = {k: v for k, v in config["pretrained_cfg"].items() if k not in ("architecture", "tag")}
    model = timm.create_model(
        name, pretrained_cfg_overlay=overlay, num_classes=config["num_classes"], **config["model_args"]
    )
    decision = DecisionLayer(**config["decision"]) if "decision" in config else None
    if decision is not None:
        add_decision(model, decision)
    sites = config["competition"]["sites"]
    for entry in sites:
        swap_activations(model, entry["competitors"], sites=[_site(entry)], competition=_competition(entry))
    model.lwta = ModelSpec(
        architecture=name,
        num_classes=config["num_classes"],
        model_args=config["model_args"],
        label_names=tuple(config["label_names"]),
        pretrained_cfg=config["pretrained_cfg"],
        sites=tuple(map(_site, sites)),
        left_out=config["competition"].get("left_out", {}),
        decision=decision,
    )
    return model


def _site(entry: Mapping[str, Any]) -> Site:
    return Site(**{key: entry[key] for key in _OF_A_SITE if key in entry})


def _competition(entry: Mapping[str, Any]) -> Competition:
    """How a site's units compete; format 1 wrote `noise` for `noise_scale`, and none of it for `competitors: 1`."""
    options = {"noise_scale" if key == "noise" else key: value for key, value in entry.items()}
    return Competition(**{field.name: options[field.name] for field in fields(Competition) if field.name in options})


def _surveyed(name, pretrained, num_classes, image_size, model_args) -> tuple[nn.Module, Survey]:
    """A model and its activations; where a size of one's own must be known when it is built (`img_size`), it is."""
    model = _timm_model(name, pretrained, num_classes, image_size, model_args)
    try:
        return model, survey(model)
    except (AssertionError, RuntimeError) as refused:
        if image_size is None:
            raise
        try:
            model = _timm_model(name, pretrained, num_classes, image_size, {"img_size": image_size, **model_args})
            return model, survey(model)
        except (AssertionError, RuntimeError, TypeError):
            raise ValueError(
                f"Expected an image_size that {name!r} can be built for but got {image_size} ({refused}); left out, it "
                f"is {model_defaults(name)['input_size'][-1]}"
            ) from refused


def _timm_model(name, pretrained, num_classes, image_size, model_args) -> nn.Module:
    if not name.startswith(("hf-hub:", "local-dir:")):
        _known(name)
    options = dict(model_args) if num_classes is None else {"num_classes": num_classes, **model_args}
    return timm.create_model(name, pretrained=pretrained, pretrained_cfg_overlay=_overlay(image_size), **options)


def _overlay(image_size: int | None) -> dict[str, Any]:
    # a size of one's own is seen whole: no share of it is cropped away
    return (
        {}
        if image_size is None
        else {"input_size": (3, image_size, image_size), "crop_pct": 1.0, "crop_mode": "center"}
    )


def _known(name: str) -> str:
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(
            f"Expected a folder, 'hf-hub:...', 'local-dir:...' or a timm model name but got {name!r}"
            f"{nearest(name, timm.list_models())}"
        )
    return name


def _label_names(model: nn.Module) -> list[str]:
    """Class names that the weights bring along (timm's hub field), or ImageNet's where timm knows the subset."""
    cfg = dict(model.pretrained_cfg)
    if cfg.get("label_names") and len(cfg["label_names"]) == model.num_classes:
        return list(cfg["label_names"])
    subset = infer_imagenet_subset(model)
    if subset is None:
        return []
    info = ImageNetInfo(subset)
    return [info.index_to_description(i) for i in range(info.num_classes())]


def _find_folder(source: str) -> Path | None:
    """The folder that holds config.json, for a run folder or a model folder; None when `source` is no folder."""
    path = Path(source.removeprefix("local-dir:"))
    for folder in (path / "model", path):
        if (folder / "config.json").is_file():
            return folder
    if source.startswith("local-dir:") or path.exists():
        raise FileNotFoundError(f"Expected a run or model folder with config.json but got {str(path)!r}")
    return None


def _file(source: str, folder: Path | None, name: str) -> Path:
    if folder is not None:
        return folder / name
    return Path(hf_hub_download(source.removeprefix("hf-hub:"), name))
