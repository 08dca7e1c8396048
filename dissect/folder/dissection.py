"""A finished dissection, read from its folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor

from competition_layers.names import nearest

from ..naming.description import OUTCOMES, Description
from ..recording.layer_record import LayerRecord
from ..recording.top_images import TopImages
from .exemplars import Exemplar
from .shard_store import read_embeddings, read_record, read_tops
from .store import FORMAT, load_tensors
from .tables import read_descriptions, read_exemplars


@dataclass(frozen=True)
class Dissection:
    """A finished dissection folder. `unit` is the 0-based channel in the saved model."""

    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)
    descriptions: Mapping[tuple[str, int], Description] = field(repr=False)
    _kept_tops: dict[str, TopImages] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: str | Path) -> "Dissection":
        """Read a dissection folder.

        Raises:
            FileNotFoundError: none there, or unfinished. ValueError: another format.
        """
        folder = Path(folder)
        path = folder / "manifest.json"
        if not path.is_file():
            raise FileNotFoundError(f"Expected a finished dissection (manifest.json) in {str(folder)!r} but got none")
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            what = "a newer lwta reads it" if manifest["format"] > FORMAT else "describe again"
            raise ValueError(
                f"Expected a dissection of format {FORMAT} but got {manifest['format']} in {str(folder)!r}; {what}"
            )
        return cls(folder, MappingProxyType(manifest), MappingProxyType(read_descriptions(folder)))

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.manifest["layers"])

    def units(self, layer: str) -> int:
        """How many units `layer` has."""
        return self.manifest["layers"][self._known(layer)]["units"]

    def summary(self, layer: str) -> str:
        """The summary that the names and exemplars of `layer` come from."""
        return self.manifest["layers"][self._known(layer)]["summary"]

    def description(self, layer: str, unit: int) -> Description:
        """What is known about one unit."""
        if not 0 <= unit < self.units(layer):
            raise ValueError(f"Expected a unit of layer {layer!r} between 0 and {self.units(layer) - 1} but got {unit}")
        return self.descriptions[layer, unit]

    def outcomes(self, layer: str) -> dict[str, int]:
        """How many units of `layer` are named, and how many are not for which reason, see `Description.outcome`."""
        found = [self.description(layer, unit).outcome for unit in range(self.units(layer))]
        return {outcome: found.count(outcome) for outcome in OUTCOMES}

    def exemplars(self, layer: str, unit: int) -> Path:
        """The strip of the unit's top images, side by side, best first; no file where it has none."""
        return self.folder / "exemplars" / self.description(layer, unit).layer / f"{unit}.jpg"

    def exemplar_images(self, layer: str, unit: int) -> tuple[Exemplar, ...]:
        """Which images those are, and the unit's value on each."""
        return tuple(self._exemplars.get((self._known(layer), unit), ()))

    def record(self, layer: str) -> LayerRecord:
        """The activations of `layer` on the probe images, in the order of `images`."""
        return read_record(self.folder, self._known(layer))

    def image_embeddings(self) -> Float[Tensor, "images dim"]:
        """The encoder's unit vectors of the probe images, in the order of `images`."""
        return read_embeddings(self.folder)

    def concept_embeddings(self) -> Float[Tensor, "concepts dim"]:
        """The encoder's unit vectors of the concepts, in the order of `concepts`."""
        tensors = load_tensors(self.folder / "embeddings" / "concepts.safetensors")
        if tensors is None:
            raise FileNotFoundError(f"Expected embeddings of the concepts in {str(self.folder)!r} but got none")
        return tensors["embeddings"]

    def maps(self, layer: str, unit: int) -> dict[str, Float[Tensor, "height width"]]:
        """Where in its top images, best first, the unit spoke: its values on a coarse grid of positions."""
        tops = self._tops(self.description(layer, unit).layer)
        places = tops.images[unit].tolist()
        return {self.images[i]: tops.maps[unit, at].float() for at, i in enumerate(places) if i >= 0}

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the probe images."""
        return tuple(self.manifest["probe"]["names"])

    @property
    def concepts(self) -> tuple[str, ...]:
        """The concepts that names were chosen from."""
        return tuple(self.manifest["concepts"]["names"])

    @cached_property
    def _exemplars(self) -> dict[tuple[str, int], list[Exemplar]]:
        found: dict[tuple[str, int], list[Exemplar]] = {}
        for exemplar in read_exemplars(self.folder):
            found.setdefault((exemplar.layer, exemplar.unit), []).append(exemplar)
        return found

    def _tops(self, layer: str) -> TopImages:
        if layer not in self._kept_tops:
            self._kept_tops[layer] = read_tops(self.folder, layer)
        return self._kept_tops[layer]

    def _known(self, layer: str) -> str:
        if layer not in self.layers:
            raise ValueError(
                f"Expected a dissected layer ({', '.join(self.layers)}) but got {layer!r}{nearest(layer, self.layers)}"
            )
        return layer
