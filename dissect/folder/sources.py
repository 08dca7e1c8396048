"""What the user called the network and the encoder of a dissection: names to be shown, or folders beside it.

A folder may come from anybody: whoever reads these names opens nothing by them but models in folders.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .layout import Layout, read_json, write_json

FORMAT = 1  # of model.json and encoder.json


@dataclass(frozen=True)
class ModelSource:
    """A network's name. Of a `folder` it is the path relative to the dissection, so that both can move together."""

    model: str
    folder: bool
    random_weights: bool = False

    @classmethod
    def of(cls, dissection: Path, model: str, *, random_weights: bool = False) -> "ModelSource":
        """What is written down about the network `model`."""
        local = Path(model.removeprefix("local-dir:"))
        where = Path(os.path.relpath(local, dissection)).as_posix() if local.is_dir() else model
        return cls(where, local.is_dir(), random_weights)

    def write(self, dissection: Path) -> None:
        write_json(Layout(dissection).source("model"), {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, dissection: Path) -> "ModelSource | None":
        """What `write` wrote; None where nothing was.

        Raises:
            ValueError: it is damaged, or of another format.
        """
        path = Layout(dissection).source("model")
        if not path.is_file():
            return None
        said = read_json(path)
        model, folder, random = said.get("model"), said.get("folder"), said.get("random_weights", False)
        if (
            said.get("format") != FORMAT
            or not isinstance(model, str)
            or not all(type(x) is bool for x in (folder, random))
        ):
            raise ValueError(f"Expected the name of a network in {str(path)!r} but got {said}; say --model")
        return cls(model, bool(folder), bool(random))


def write_encoder(dissection: Path, name: str) -> None:
    """Write down the encoder's name; a file's in full."""
    where = str(Path(name).resolve()) if Path(name).exists() else name
    write_json(Layout(dissection).source("encoder"), {"format": FORMAT, "clip": where})


def read_encoder(dissection: Path) -> str:
    """The encoder's name, `bundled` where none was written down.

    Raises:
        ValueError: it is damaged, or of another format.
    """
    path = Layout(dissection).source("encoder")
    if not path.is_file():
        return "bundled"
    said = read_json(path)
    if said.get("format") != FORMAT or not isinstance(said.get("clip"), str):
        raise ValueError(f"Expected the name of an encoder in {str(path)!r} but got {said}; say --clip")
    return said["clip"]
