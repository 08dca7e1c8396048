"""Where everything lies in a dissection folder, and whether it is finished."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from competition_layers.files import write_file

from .manifest import misfits
from .tensors import FORMAT

_SHARD = re.compile(r"(\d{9})-([0-9a-f]{32})\.safetensors")  # START-KEY: what `shard` names


@dataclass(frozen=True)
class Layout:
    """The paths of one dissection folder. `unfinished.json` stands there until `manifest.json` does."""

    folder: Path
    PARTS: ClassVar = (
        "activations",
        "answers",
        "describers",
        "embeddings",
        "exemplar_sets",
        "exemplars",
        "tops",
    )  # folders

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def unfinished(self) -> Path:
        return self.folder / "unfinished.json"

    @property
    def descriptions(self) -> Path:
        return self.folder / "descriptions.csv"

    @property
    def candidates(self) -> Path:
        return self.folder / "candidates.csv"

    @property
    def exemplars(self) -> Path:
        return self.folder / "exemplars.csv"

    @property
    def page(self) -> Path:
        return self.folder / "report.html"

    @property
    def units_page(self) -> Path:
        return self.folder / "units.html"

    @property
    def concept_embeddings(self) -> Path:
        return self.folder / "embeddings" / "concepts.safetensors"

    @property
    def phrase_embeddings(self) -> Path:
        """Of phrases that stand in no list: describers found them."""
        return self.folder / "embeddings" / "phrases.safetensors"

    @property
    def image_shards(self) -> Path:
        return self.folder / "embeddings" / "images"

    def activation_shards(self, layer: str) -> Path:
        return self.folder / "activations" / _inside(layer)

    def top_shards(self, layer: str) -> Path:
        return self.folder / "tops" / _inside(layer)

    def top_images(self, layer: str) -> Path:
        return self.folder / "tops" / f"{_inside(layer)}.safetensors"

    def exemplar_set(self, layer: str) -> Path:
        """The layer's exemplars for describers: images, maps, thresholds."""
        return self.folder / "exemplar_sets" / f"{_inside(layer)}.safetensors"

    @property
    def answers(self) -> Path:
        """What other models answered."""
        return self.folder / "answers"

    def kept(self, layer: str, method: str) -> Path:
        """What a describer kept of a layer beside names."""
        return self.folder / "describers" / _inside(method) / f"{_inside(layer)}.safetensors"

    def unit_said(self, layer: str, method: str, unit: int) -> Path:
        """What a describer said of one unit."""
        return self.folder / "describers" / _inside(method) / _inside(layer) / f"{unit}.json"

    @property
    def beside_random(self) -> Path:
        """The dissection of the same network with random weights."""
        return self.folder / "random_weights"

    @property
    def strips(self) -> Path:
        return self.folder / "exemplars"

    def strip(self, layer: str, unit: int) -> Path:
        return self.strips / _inside(layer) / f"{unit}.jpg"

    def source(self, of: str) -> Path:
        """What the user called the `model` or the `encoder`."""
        return self.folder / f"{of}.json"

    def lock(self, share: tuple[int, int] | None = None) -> Path:
        return self.folder / (".lock" if share is None else f".lock-{share[0]}-of-{share[1]}")

    def share_locks(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(".lock-*-of-*") if path.suffix != ".by")

    @property
    def is_finished(self) -> bool:
        return self.manifest.is_file()

    def read_manifest(self) -> dict[str, Any]:
        """The manifest of a finished dissection.

        Raises:
            FileNotFoundError: none there, or unfinished. ValueError: another format, or damaged.
        """
        if not self.is_finished:
            raise FileNotFoundError(
                f"Expected a finished dissection (manifest.json) in {str(self.folder)!r} but got none"
            )
        made = read_json(self.manifest)
        if made.get("format") != FORMAT:
            newer = isinstance(made.get("format"), int) and made["format"] > FORMAT
            raise ValueError(
                f"Expected a dissection of format {FORMAT} but got {made.get('format')} in {str(self.folder)!r}; "
                f"{'a newer lwta reads it' if newer else 'describe again'}"
            )
        for keys, kind, said in misfits(made):
            raise ValueError(
                f"Expected {keys} ({kind}) in {str(self.manifest)!r} but got {_short(said)}; describe again"
            )
        for layer in made["layers"]:
            _inside(layer)
        return made

    def tensors(self) -> Iterator[Path]:
        """The files of tensors of a finished dissection that must be there, and all recorded shards."""
        yield self.concept_embeddings
        yield self.phrase_embeddings
        places = [self.image_shards]
        for layer in self.read_manifest()["layers"]:
            yield self.top_images(layer)
            places.append(self.activation_shards(layer))
        for place in places:
            yield from (path for _, _, path in shards_in(place))

    def invalidate(self, model: str) -> None:
        """From here on unfinished: the manifest speaks of files that are replaced. `model` is the fingerprint."""
        if not self.unfinished.is_file():
            write_json(self.unfinished, {"format": FORMAT, "model": {"fingerprint": model}})
        self.manifest.unlink(missing_ok=True)

    def finish(self, made: Mapping[str, Any]) -> None:
        """Write the manifest, last of all files."""
        write_json(self.manifest, made)
        self.unfinished.unlink(missing_ok=True)


def shard(place: Path, start: int, key: str) -> Path:
    """The file of the shard whose images begin at `start`, under the `key` of its content."""
    return place / f"{start:09d}-{key}.safetensors"


def shards_in(place: Path) -> Iterator[tuple[int, str, Path]]:
    """Start, key and path of each shard in a folder, in order; other files there are somebody else's."""
    for path in sorted(place.glob("*.safetensors")):
        if found := _SHARD.fullmatch(path.name):
            yield int(found[1]), found[2], path


def read_json(path: Path) -> dict[str, Any]:
    """What one of the folder's JSON files says.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected a whole JSON file but got {str(path)!r} ({error}); describe again") from error
    if not isinstance(found, dict):
        raise ValueError(f"Expected an object in {str(path)!r} but got {type(found).__name__}; describe again")
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one of the folder's JSON files, whole or not at all."""
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _short(said: Any) -> str:
    return textwrap.shorten(repr(said), 60, placeholder=" ...")


def _inside(layer: str) -> str:
    """The layer's name, refused where it would be a path: a folder may come from anybody."""
    if not layer or layer in (".", "..") or "/" in layer or "\\" in layer or "\0" in layer:
        raise ValueError(f"Expected a module's dotted name for a layer but got {layer!r}")
    return layer
