"""Any backbone with competitions in it: timm's, torchvision's, one's own. The only file that imports timm's factory."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from .competition import Competition
from .decision import DecisionLayer, add_decision
from .elsewhere import check_elsewhere, open_backbone, torchvision_defaults
from .entries import entry_of, reaching
from .foreign import plain_architecture, plain_model_args, plain_pretrained_cfg, read_config
from .heads import give_classes
from .names import nearest
from .origins import TORCHVISION, is_elsewhere, is_function
from .spec import OURS, ModelSpec
from .surgery import swap_activations
from .wiring.sites import Survey, survey

_NAMES = ("hf-hub:", "local-dir:")  # of what others made


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
    """A network whose activations compete.

    Args:
        name: any timm name, with or without tag, `hf-hub:OWNER/NAME` or `local-dir:PATH` in timm's format;
            `torchvision:NAME[/WEIGHTS]`; or `package.module:function`, see `open_elsewhere`.
        competitors: U, or a mapping of globs on activations to U of which the first that fits counts
            (`{"stages.3.*": 8, "*": 4}`); 1 keeps the backbone's own activations: the dense twin.
        pretrained: load the weights that belong to the name; a function's network has what the function gives it.
        num_classes: of the head; by default what the name's weights were trained for.
        image_size: pixels of a side; by default what the name was made for.
        include, exclude: globs on activations, see `activation_sites`.
        competition: how the units of a group compete.
        decision: a decision layer in the place of the classifier; it competes in the dense twin too.
        model_args: go to timm (`embed_dim=96`, `drop_path_rate=0.1`, ...), torchvision, or the function.

    Raises:
        ValueError: an unknown name (the nearest is offered), no classifier of colour pictures, a size that the backbone
            cannot have, or a width that U does not divide, both found by one pass of a blank image.

    >>> model = create_model("vit_tiny_patch16_224", competitors=8, num_classes=10, image_size=32, depth=1)
    >>> model.blocks[0].mlp.act.groups
    Groups(competitors=8, channel_dim=-1, layout='strided')
    """
    model, built_with, found = _surveyed(name, pretrained, num_classes, image_size, model_args)
    classes = give_classes(model, num_classes) if is_elsewhere(name) else model.num_classes
    dense = competitors == 1 and include is None and not any(each.site for each in found.activations)
    sites = [] if dense else found.sites(include=include, exclude=exclude)  # one that calls functions has no sites
    if sites:
        swap_activations(model, competitors, sites=sites, competition=competition)
    # timm fills model.pretrained_cfg; what describes pictures and classes travels with the model
    cfg = plain_pretrained_cfg(dict(model.pretrained_cfg))
    if label_names and len(label_names) != classes:
        raise ValueError(f"Expected {classes} label names but got {len(label_names)}")
    labels = tuple(label_names or _label_names(model, classes))
    model.lwta = ModelSpec(
        architecture=cfg.get("architecture", name),
        num_classes=classes,
        model_args=built_with,
        label_names=labels,
        pretrained_cfg=cfg,
        sites=tuple(sites),
        left_out=found.left_out(sites),
    )
    if decision is not None:
        add_decision(model, decision)
    return model


def check_name(name: str, *, image_size: int | None = None, **model_args: Any) -> None:
    """Refuse the name of a backbone that cannot be, before any work; a function is called once.

    Args:
        image_size, model_args: as in `create_model`, for the function.

    Raises:
        ValueError: an unknown name (the nearest is offered), a function that returns something else or a network
            without classifier. FileNotFoundError: `local-dir:` of no model.
    """
    if is_function(name):
        give_classes(open_backbone(name, overlay=_overlay(image_size), **model_args), None)
    elif is_elsewhere(name):
        check_elsewhere(name)
    elif name.startswith("local-dir:"):
        entry_of(name)("config.json")
    elif not name.startswith("hf-hub:"):
        _known(name)


def build(spec: ModelSpec) -> nn.Module:
    """The dense network of a `ModelSpec`, with fresh weights; nothing that the spec says is read or fetched.

    Where the spec names a function, it is called: whoever calls this has a person's word for it.
    """
    if is_elsewhere(spec.architecture):
        model = open_backbone(spec.architecture, pretrained=False, **plain_model_args(spec.model_args))
        model.pretrained_cfg = dict(spec.pretrained_cfg)
        give_classes(model, spec.num_classes)
        return model
    overlay = {k: v for k, v in plain_pretrained_cfg(spec.pretrained_cfg).items() if k not in ("architecture", "tag")}
    return timm.create_model(
        _known(plain_architecture(spec.architecture)),
        pretrained_cfg_overlay=overlay,
        num_classes=spec.num_classes,
        **plain_model_args(spec.model_args),
    )


def data_config(model: nn.Module) -> dict[str, Any]:
    """timm's data configuration of `model` (input_size, mean, std, ...), for `timm.data.create_transform`."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in resolve_model_data_config(model).items()}


def model_defaults(name: str, *, image_size: int | None = None) -> dict[str, Any]:
    """The data configuration of a name of timm's or torchvision's, without building the model."""
    if name.startswith(TORCHVISION):
        cfg = torchvision_defaults(name)
    elif name.startswith(_NAMES):
        architecture, overlay, _ = _entry(name, weights=False)
        cfg = {**timm.get_pretrained_cfg(architecture).to_dict(), **overlay}
    else:
        cfg = timm.get_pretrained_cfg(_known(name)).to_dict()
    cfg = {**cfg, **_overlay(image_size)}
    return timm.data.resolve_data_config(pretrained_cfg=cfg)


def _surveyed(name, pretrained, num_classes, image_size, model_args) -> tuple[nn.Module, dict[str, Any], Survey]:
    """A model, what it was built with, and its activations; where a size of one's own must be known then, it is."""
    make = partial(_made, name, pretrained, num_classes, image_size)
    model, built_with = make(model_args)
    try:
        return model, built_with, survey(model)
    except (AssertionError, RuntimeError) as refused:
        if is_function(name):
            raise ValueError(
                f"Expected the network of {name!r} to take pictures of {list(model.pretrained_cfg['input_size'])}, as "
                f"it says, but got: {refused}"
            ) from refused
        if image_size is None:
            raise
        size = "image_size" if is_elsewhere(name) else "img_size"
        try:
            model, built_with = make({size: image_size, **model_args})
            return model, built_with, survey(model)
        except (AssertionError, RuntimeError, TypeError):
            raise ValueError(
                f"Expected an image_size that {name!r} can be built for but got {image_size} ({refused}); left out, it "
                f"is {model_defaults(name)['input_size'][-1]}"
            ) from refused


def _made(name, pretrained, num_classes, image_size, model_args) -> tuple[nn.Module, dict[str, Any]]:
    """A network from where its name says, with `pretrained_cfg`, and the arguments that it was built with."""
    if is_elsewhere(name):
        return open_backbone(name, pretrained=pretrained, overlay=_overlay(image_size), **model_args), dict(model_args)
    return _timm_model(name, pretrained, num_classes, image_size, model_args)


def _timm_model(name, pretrained, num_classes, image_size, model_args) -> tuple[nn.Module, dict[str, Any]]:
    """timm's network, and what it was built with; one's own `model_args` may hold its `pretrained_cfg_overlay` too."""
    if model_args.get("features_only"):
        raise ValueError(
            f"Expected a classifier but got features_only={model_args['features_only']} for {name!r}, which gives maps "
            "and no logits; leave it out, and see what passes through any module by `observe`"
        )
    if model_args.get("in_chans", 3) != 3:
        raise ValueError(
            f"Expected in_chans=3 but got {model_args['in_chans']} for {name!r}: pictures are read with 3 channels, a "
            "grey one with the same three times; leave it out"
        )
    overlay: dict[str, Any] = {}
    options = dict(model_args)
    if name.startswith(_NAMES):
        name, overlay, own = _entry(name, weights=pretrained)
        options = own | options
    else:
        _known(name)
    if num_classes is not None:
        options["num_classes"] = num_classes
    overlay |= _overlay(image_size) | dict(options.pop("pretrained_cfg_overlay", {}))
    with reaching(name):
        model = timm.create_model(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **options)
    return model, {k: v for k, v in options.items() if k != "num_classes"}


def _entry(name: str, *, weights: bool) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Architecture, overlay of its pretrained_cfg and arguments of a folder or hub entry in timm's own format."""
    place = entry_of(name)
    config = read_config(place("config.json"))
    cfg = plain_pretrained_cfg(config.get("pretrained_cfg", config))
    for key in ("num_classes", "label_names", "label_descriptions"):
        if config.get(key) is not None:
            cfg |= plain_pretrained_cfg({key: config[key]})
    if str(config.get("architecture", "")).startswith(OURS):
        raise ValueError(
            f"Expected a network in timm's format but {name!r} is one of lwta's ({config['architecture']}): load_model "
            "opens it, and --model.start.weights trains on from its weights, with the backbone that it names"
        )
    architecture = _known(plain_architecture(config.get("architecture")))
    # the weights lie beside the file, whatever it says of them
    nowhere = {"url": None, "hf_hub_id": None, "source": None, "state_dict": None, "custom_load": False}
    overlay = {**cfg, **nowhere, "file": str(place("model.safetensors")) if weights else None}
    args = plain_model_args(config.get("model_args") or {})
    return architecture, overlay, {**({"num_classes": cfg["num_classes"]} if "num_classes" in cfg else {}), **args}


def _overlay(image_size: int | None) -> dict[str, Any]:
    # a size of one's own is seen whole: no share of it is cropped away
    return (
        {}
        if image_size is None
        else {"input_size": (3, image_size, image_size), "crop_pct": 1.0, "crop_mode": "center"}
    )


def _known(name: str) -> str:
    if not timm.is_model(name.split(".")[0]):
        if Path(name).is_dir():
            raise ValueError(
                f"Expected the name of a backbone but got the folder {name!r}: local-dir:{name} where it is in timm's "
                f"format; to train on from a run's weights --model.start.weights {name}"
            )
        raise ValueError(
            f"Expected a folder, 'hf-hub:...', 'local-dir:...', 'torchvision:...', package.module:function or a timm "
            f"model name but got {name!r}{nearest(name, timm.list_models())}"
        )
    base, _, tag = name.partition(".")
    tags = timm.list_models(f"{base}.*", pretrained=True)
    if tag and name not in tags:
        raise ValueError(f"Expected weights of {base!r} among {', '.join(tags) or 'none'} but got {name!r}")
    return name


def _label_names(model: nn.Module, classes: int) -> list[str]:
    """Class names that a network or its weights bring along, or ImageNet's where timm knows the subset."""
    cfg = dict(model.pretrained_cfg)
    for said in (cfg.get("label_names"), getattr(model, "label_names", None)):
        if said and len(said) == classes:
            return list(said)
    subset = infer_imagenet_subset(model) if hasattr(model, "reset_classifier") else None
    if subset is None:
        return []
    info = ImageNetInfo(subset)
    return [info.index_to_description(i) for i in range(info.num_classes())]
