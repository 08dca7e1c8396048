"""What a person names on the command line: a network from anywhere, or a dissection that remembers its network."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from competition_layers.names import nearest

REMEMBERED = "model.json"  # in a dissection's folder: where its network was
ENCODER = "encoder.json"  # and the name of its encoder


def open_model(source: str, *, random_weights: bool = False) -> Any:
    """A network in evaluation mode; what is not timm's carries its own transform as `image_transform`.

    A run or model folder, `hf-hub:OWNER/NAME`, `local-dir:PATH`, or a timm name: see `load_model`.
    `torchvision:NAME` or `torchvision:NAME/WEIGHTS`: with its default or the named weights, and their transforms.
    `package.module:function`: called without arguments (the current folder is searched too), it returns a network, or
    a network and its transform from a picture to the network's input.

    Raises:
        ValueError: an unknown name (the nearest is offered), or a function that returns something else.
    """
    if source.startswith("torchvision:"):
        return _from_torchvision(source.removeprefix("torchvision:"), random_weights)
    module, _, function = source.partition(":")
    if function and not source.startswith(("hf-hub:", "local-dir:")) and not Path(source).exists():
        return _from_entry(source, module, function)
    from competition_layers import load_model

    return load_model(source, random_weights=random_weights)


def class_names(model: Any) -> tuple[str, ...]:
    """The names of the classes that a network answers with.

    Raises:
        ValueError: it does not say them.
    """
    from dissect.recording.subject import label_names

    names = label_names(model)
    if not names:
        raise ValueError(
            f"Expected a network that says the names of its classes but {type(model).__name__} does not; write them "
            "into a text file, one a line, and give that as --concepts"
        )
    return names


def remember_model(dissection: Path, model: str) -> None:
    """Write down in a dissection which network it is of; a folder relative to it, so that both can move together."""
    local = Path(model.removeprefix("local-dir:"))
    where = Path(os.path.relpath(local, dissection)).as_posix() if local.is_dir() else model
    (dissection / REMEMBERED).write_text(json.dumps({"format": 1, "model": where, "folder": local.is_dir()}) + "\n")


def remember_encoder(dissection: Path, clip: str) -> None:
    """Write down in a dissection which encoder it was made with."""
    local = Path(clip)
    where = str(local.resolve()) if local.exists() else clip
    (dissection / ENCODER).write_text(json.dumps({"format": 1, "clip": where}) + "\n")


def recall_encoder(dissection: Path) -> str:
    """The encoder that `remember_encoder` wrote down, else the bundled one."""
    path = dissection / ENCODER
    return json.loads(path.read_text())["clip"] if path.is_file() else "bundled"


def recall_model(dissection: Path) -> str:
    """The network that `remember_model` wrote down.

    Raises:
        ValueError: nothing was written down, or it is no longer there.
    """
    path = dissection / REMEMBERED
    if not path.is_file():
        raise ValueError(
            f"Expected --model, since the dissection {str(dissection)!r} does not say which network it is of"
        )
    entry = json.loads(path.read_text())
    model = os.path.normpath(dissection / entry["model"]) if entry["folder"] else entry["model"]
    if entry["folder"] and not Path(model).is_dir():
        raise ValueError(f"Expected the network of {str(dissection)!r} in {model!r} but it is not there; say --model")
    return model


def open_dissected(folder: Path, model: str | None = None) -> tuple[Any, Any]:
    """A dissection and its network.

    Raises:
        FileNotFoundError: no dissection there. ValueError: the network is not the one that was described.
    """
    from dissect import Dissection
    from dissect.folder.store import model_fingerprint

    dissection = Dissection.open(folder)
    source = model or recall_model(folder)
    network = open_model(source)
    if model_fingerprint(network) != dissection.manifest["model"]["fingerprint"]:
        raise ValueError(
            f"Expected the network that {str(folder)!r} describes but got {source!r}, whose weights or settings are "
            "others; describe it again"
        )
    return dissection, network


def training_seconds(source: str) -> float | None:
    """How long training took, that of the dense network it was converted from included; None where it is not known."""
    path = Path(source.removeprefix("local-dir:"))
    for config in (path / "model" / "config.json", path / "config.json"):
        if config.is_file():
            notes = json.loads(config.read_text()).get("training", {})
            own, teacher = notes.get("seconds"), notes.get("converted_from")
            before = training_seconds(teacher) if teacher else 0.0
            return None if own is None or before is None else own + before
    return None


def _from_torchvision(name: str, random_weights: bool) -> Any:
    from torchvision import models

    name, _, weights_name = name.partition("/")
    known = models.list_models()
    if name not in known:
        raise ValueError(f"Expected a torchvision network but got {name!r}{nearest(name, known)}")
    choices = models.get_model_weights(name)
    listed = [choice.name for choice in choices]
    if weights_name and weights_name not in listed:
        raise ValueError(
            f"Expected weights of torchvision's {name} ({', '.join(listed)}) but got {weights_name!r}"
            f"{nearest(weights_name, listed)}"
        )
    weights = choices[weights_name] if weights_name else choices.DEFAULT
    model = models.get_model(name, weights=None if random_weights else weights).eval()
    model.image_transform = weights.transforms()
    model.label_names = tuple(weights.meta.get("categories", ()))
    return model


def _from_entry(source: str, module_name: str, function_name: str) -> Any:
    from torch.nn import Module

    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        raise ValueError(
            f"Expected package.module:function but found no module {error.name!r} for {source!r}"
        ) from error
    functions = [name for name, value in vars(module).items() if callable(value)]
    if function_name not in functions:
        raise ValueError(
            f"Expected a function of module {module_name!r} but got {function_name!r}"
            f"{nearest(function_name, functions)}"
        )
    made = getattr(module, function_name)()
    model, transform = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, Module) or not (transform is None or callable(transform)):
        raise ValueError(
            f"Expected {source!r} to return a torch.nn.Module, or one and its transform, but got {type(made).__name__}"
        )
    if transform is not None:
        model.image_transform = transform
    return model.eval()
