"""What a person names on the command line: a network from anywhere, or a dissection that remembers its network."""

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from competition_layers.names import nearest

# names of plans alone: with random weights nothing is fetched by them
_PLAN = re.compile(r"torchvision:[\w/]+|[\w.]+")


def open_model(source: str, *, random_weights: bool = False) -> Any:
    """A network in evaluation mode; what is not timm's carries its own transform as `image_transform`.

    A run or model folder, `hf-hub:OWNER/NAME`, `local-dir:PATH`, or a timm name: see `load_model`.
    `torchvision:NAME` or `torchvision:NAME/WEIGHTS`: with its default or the named weights, and their transforms.
    `package.module:function`: called without arguments (the current folder is searched too), it returns a network, or
    a network and its transform from a picture to the network's input. With `random_weights` a named network is always
    the same one.

    Raises:
        ValueError: an unknown name (the nearest is offered), a function that returns something else, damaged weights.
        FileNotFoundError: no model there; weights that are neither in the cache nor on the Hub.
    """
    module, _, function = source.partition(":")
    if is_made_by_code(source):
        return _from_entry(source, module, function)
    with _seeded() if random_weights else nullcontext(), _fetched(source):
        if source.startswith("torchvision:"):
            return _from_torchvision(function, random_weights)
        from competition_layers import load_model

        return load_model(source, random_weights=random_weights)


def open_backbone(source: str) -> Any:
    """A network as the frozen backbone of a describer: see `open_model`."""
    from dissect.milan.backbone import backbone_of

    return backbone_of(open_model(source))


def is_made_by_code(source: str) -> bool:
    """Whether `source` is a function that makes the network."""
    named = source.startswith(("hf-hub:", "local-dir:", "torchvision:"))
    return not named and bool(source.partition(":")[2]) and not Path(source).exists()


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


def recall_model(folder: Path) -> str:
    """The network that a dissection names: a folder, or a plan of random weights.

    A dissection may come from anybody, so nothing is fetched and no code runs by what it says: a network of that kind
    is to be named by the user.

    Raises:
        ValueError: it names none, one that is to be named by the user, or one that is no longer there.
    """
    from dissect.folder.sources import ModelSource

    found = ModelSource.read(folder)
    if found is None:
        raise ValueError(f"Expected --model, since the dissection {str(folder)!r} does not say which network it is of")
    if not found.folder:
        if found.random_weights and _PLAN.fullmatch(found.model) and not Path(found.model).exists():
            return found.model
        raise ValueError(
            f"Expected the network of {str(folder)!r} from you, by --model or in the folder's place, since "
            f"{found.model!r} is fetched or made by running code: that is never done because a folder says so"
        )
    path = os.path.normpath(folder / found.model)
    if Path(found.model).is_absolute() or not Path(path).is_dir():
        raise ValueError(f"Expected the network of {str(folder)!r} in {path!r} but it is not there; say --model")
    return path


def open_dissected(folder: Path, model: str | None = None) -> tuple[Any, Any]:
    """A dissection and its network, by default the one that it names (see `recall_model`).

    Raises:
        FileNotFoundError: no dissection there. ValueError: the network is not the one that was described.
    """
    from dissect import Dissection
    from dissect.fingerprints import model_fingerprint
    from dissect.folder.sources import ModelSource

    dissection = Dissection.open(folder)
    source, said = model or recall_model(folder), ModelSource.read(folder)
    network = open_model(source, random_weights=said is not None and said.random_weights and not Path(source).exists())
    if model_fingerprint(network) != dissection.manifest["model"]["fingerprint"]:
        raise ValueError(
            f"Expected the network that {str(folder)!r} describes but got {source!r}, whose weights or settings are "
            "others; describe it again"
        )
    return dissection, network


def training_seconds(source: str) -> float | None:
    """How long training took, that of the dense network it was converted from included; None where it is not known."""
    total, seen = 0.0, set[str]()
    while source not in seen:
        seen.add(source)
        notes = training_notes(Path(source.removeprefix("local-dir:")))
        own, source = notes.get("seconds"), notes.get("converted_from") or ""
        if not isinstance(own, int | float) or not isinstance(source, str):
            return None
        total += own
        if not source:
            return total
    return None  # a folder that says to come from itself


def training_notes(folder: Path) -> dict[str, Any]:
    """What the config.json of a run or model folder says of its training; nothing where it cannot be read."""
    for config in (folder / "model" / "config.json", folder / "config.json"):
        if config.is_file():
            try:
                notes = json.loads(config.read_text(encoding="utf-8")).get("training", {})
            except (ValueError, AttributeError, OSError, RecursionError):
                return {}
            return notes if isinstance(notes, dict) else {}
    return {}


@contextmanager
def _fetched(source: str) -> Iterator[None]:
    """What the libraries that fetch and read weights say, in one line with what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"Expected whole weights of {source!r} but they are damaged ({error}); copy them anew"
        ) from error
    except OSError as error:
        if "Expected" in str(error) or Path(source.removeprefix("local-dir:")).exists():
            raise
        said = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"Expected the weights of {source!r} in the cache or on the Hub but got: {said}; without a network give a "
            "run or model folder"
        ) from error


@contextmanager
def _seeded() -> Iterator[None]:
    """Inside the block torch draws from a seed of its own; afterwards its stream goes on."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


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
