"""What a person names on the command line: a network from anywhere, or a dissection that remembers its network."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from competition_layers.origins import is_elsewhere, is_function, split_word

# names of plans alone: with random weights nothing is fetched by them
_PLAN = re.compile(r"torchvision:[\w/]+|[\w.]+")


def open_model(source: str, *, random_weights: bool = False) -> Any:
    """A network in evaluation mode.

    A run or model folder, `hf-hub:OWNER/NAME`, `local-dir:PATH`, or a timm name: see `load_model`.
    `torchvision:NAME[/WEIGHTS]` or `package.module:function`: as it is made, see `open_elsewhere`. With
    `random_weights` a named network is always the same one.

    Raises:
        ValueError: an unknown name (the nearest is offered), a function that returns something else, damaged weights.
        FileNotFoundError: no model there; weights that are neither in the cache nor on the Hub.
    """
    from competition_layers import load_model
    from competition_layers.elsewhere import open_elsewhere

    word, _ = split_word(source)
    if not word and is_function(source):
        return open_elsewhere(source).eval()
    with _seeded() if random_weights else nullcontext(), _fetched(source):
        if not word and is_elsewhere(source):
            return open_elsewhere(source, pretrained=not random_weights).eval()
        return load_model(source, random_weights=random_weights)


def open_backbone(source: str) -> Any:
    """A network as the frozen backbone of a describer: see `open_model`."""
    from dissect.milan.backbone import backbone_of

    return backbone_of(open_model(source))


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
    saved = model is not None and Path(model).exists()  # as it was: also one with random weights
    network = open_model(source, random_weights=said is not None and said.random_weights and not saved)
    if model_fingerprint(network) != dissection.manifest["model"]["fingerprint"]:
        raise ValueError(
            f"Expected the network that {str(folder)!r} describes but got {source!r}, whose weights or settings are "
            "others; describe it again"
        )
    return dissection, network


def training_seconds(source: str) -> float | None:
    """How long training took, that of the dense network it was converted from included; None where it is not known."""
    (_, source), total, seen = split_word(source), 0.0, set[str]()
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
