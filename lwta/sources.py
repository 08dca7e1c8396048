"""What a person names on the command line: a network, or a dissection that remembers the network it is of."""

import json
import os
from pathlib import Path
from typing import Any

REMEMBERED = "model.json"  # in a dissection's folder: where its network was


def remember_model(dissection: Path, model: str) -> None:
    """Write down in a dissection which network it is of; a folder relative to it, so that both can move together."""
    local = Path(model.removeprefix("local-dir:"))
    where = Path(os.path.relpath(local, dissection)).as_posix() if local.is_dir() else model
    (dissection / REMEMBERED).write_text(json.dumps({"format": 1, "model": where, "folder": local.is_dir()}) + "\n")


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
    from competition_layers import load_model
    from dissect import Dissection
    from dissect.store import model_fingerprint

    dissection = Dissection.open(folder)
    source = model or recall_model(folder)
    network = load_model(source)
    if model_fingerprint(network) != dissection.manifest["model"]["fingerprint"]:
        raise ValueError(
            f"Expected the network that {str(folder)!r} describes but got {source!r}, whose weights or settings are "
            "others; describe it again"
        )
    return dissection, network


def training_seconds(source: str) -> float | None:
    """How long training took, as the model's config.json says; None where it does not."""
    path = Path(source.removeprefix("local-dir:"))
    for config in (path / "model" / "config.json", path / "config.json"):
        if config.is_file():
            return json.loads(config.read_text()).get("training", {}).get("seconds")
    return None
