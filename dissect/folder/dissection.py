"""A finished dissection, read from its folder."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from competition_layers.names import nearest

from ..encoders.space import Space
from ..fingerprints import digest
from ..naming.description import OUTCOMES, Description
from ..notebook import frame_of, table_html
from ..recording.layer_record import LayerRecord
from ..recording.top_images import TopImages
from .exemplars import Exemplar
from .layout import Layout
from .shard_store import read_image_embeddings, read_record, read_top_images
from .tables import check_rows, read_descriptions, read_exemplars
from .tensors import is_stamped, load_tensors

SHOWN = 20  # units that a notebook shows


@dataclass(frozen=True)
class Dissection:
    """A finished dissection folder. `unit` is the 0-based channel in the saved model."""

    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)
    descriptions: Mapping[tuple[str, int], Description] = field(repr=False)
    _top_images: dict[str, TopImages] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: str | Path) -> "Dissection":
        """Read a dissection folder.

        Raises:
            FileNotFoundError: none there, or unfinished. ValueError: another format, or damaged.
        """
        layout = Layout(Path(folder))
        manifest = layout.read_manifest()
        descriptions = read_descriptions(layout)
        for layer, about in manifest["layers"].items():
            lost = next((unit for unit in range(about["units"]) if (layer, unit) not in descriptions), None)
            if lost is not None:
                raise ValueError(
                    f"Expected a row for each of the {about['units']} units of layer {layer!r} in "
                    f"{str(layout.descriptions)!r} but got none for unit {lost}; describe again"
                )
        check_rows(manifest, layout.candidates, sum(len(one.candidates) for one in descriptions.values()))
        return cls(layout.folder, MappingProxyType(manifest), MappingProxyType(descriptions))

    @classmethod
    def unchanged(cls, folder: str | Path, key: str) -> "Dissection | None":
        """The dissection there if it was made from these very inputs and its files are whole."""
        try:
            found = cls.open(folder)
            whole = found.manifest["key"] == key and found.layout.strips.is_dir() and found._exemplars is not None
            tensors = [*found.layout.tensors()] if whole else []
        except (FileNotFoundError, ValueError):
            return None
        return found if whole and all(map(is_stamped, tensors)) else None

    @property
    def layout(self) -> Layout:
        """Where everything lies in the folder."""
        return Layout(self.folder)

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

    def named_at_random(self, layer: str) -> int | None:
        """How many units of `layer` have a name in the same network with random weights; None where nobody looked."""
        return (self.manifest.get("named_at_random") or {}).get(layer)

    def exemplars(self, layer: str, unit: int) -> Path:
        """The strip of the unit's top images, side by side, best first; no file where it has none."""
        return self.layout.strip(self.description(layer, unit).layer, unit)

    def exemplar_images(self, layer: str, unit: int) -> tuple[Exemplar, ...]:
        """Which images those are, and the unit's value on each."""
        return tuple(self._exemplars.get((self._known(layer), unit), ()))

    def record(self, layer: str) -> LayerRecord:
        """The activations of `layer` on the probe images, in the order of `images`."""
        found = read_record(self.layout, self._known(layer), self.units(layer))
        self._fits(self.layout.activation_shards(layer), found.unit_values(self.summary(layer)).values, self.images)
        return found

    def image_embeddings(self) -> Float[Tensor, "images dim"]:
        """The encoder's unit vectors of the probe images, in the order of `images`."""
        found = read_image_embeddings(self.layout)
        return self._fits(self.layout.image_shards, found, self.images)

    def concept_embeddings(self) -> Float[Tensor, "concepts dim"]:
        """The encoder's unit vectors of the concepts, in the order of `concepts`."""
        tensors = load_tensors(self.layout.concept_embeddings)
        if tensors is None:
            raise FileNotFoundError(
                f"Expected embeddings of the concepts in {str(self.layout.concept_embeddings)!r} but got none, or a "
                "damaged file; describe again"
            )
        return self._fits(self.layout.concept_embeddings, tensors.get("embeddings"), self.concepts)

    def space(self) -> Space:
        """The probe images and all phrases in the encoder's space: the concepts, then what describers found."""
        phrases, found = tuple(self.manifest.get("phrases", ())), self.concept_embeddings()
        if phrases:
            tensors = load_tensors(self.layout.phrase_embeddings, key=digest(list(phrases)))
            if tensors is None:
                raise FileNotFoundError(
                    f"Expected embeddings of {len(phrases)} phrases in {str(self.layout.phrase_embeddings)!r} but got "
                    "none, or a damaged file; describe again"
                )
            found = torch.cat([found, self._fits(self.layout.phrase_embeddings, tensors.get("embeddings"), phrases)])
        return Space(self.image_embeddings(), found, (*self.concepts, *phrases))

    def maps(self, layer: str, unit: int) -> dict[str, Float[Tensor, "height width"]]:
        """Where in its top images, best first, the unit spoke: its values on a coarse grid of positions."""
        kept = self._kept(self.description(layer, unit).layer)
        places = kept.indices[unit].tolist()
        return {self.images[i]: kept.maps[unit, at].float() for at, i in enumerate(places) if i >= 0}

    def kept(self, layer: str, method: str) -> dict[str, Tensor]:
        """What a describer kept of a layer beside names, by name; nothing where it kept nothing."""
        return load_tensors(self.layout.kept(self._known(layer), method)) or {}

    def to_dict(self) -> dict[str, Any]:
        """What was dissected (`manifest`) and a row for each unit (`units`), as plain values."""
        return {"manifest": dict(self.manifest), "units": self._rows()}

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each unit (needs pandas)."""
        return frame_of(self._rows())

    def _repr_html_(self) -> str:
        rows = self._rows()
        named = [row for row in rows if row["name"]]
        surest = sorted(named, key=lambda row: -(row["r"] or 0))[:SHOWN]
        head = f"{len(named)} of {len(rows)} units are named; the surest {len(surest)}:"
        return table_html(surest, head=head)

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the probe images."""
        return tuple(self.manifest["probe"]["names"])

    @property
    def concepts(self) -> tuple[str, ...]:
        """The concepts that names were chosen from."""
        return tuple(self.manifest["concepts"]["names"])

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for about in self.descriptions.values():
            found = about.evidence
            r, low, high, p = (found.predictability, found.low, found.high, found.p) if found else (None,) * 4
            rows.append(
                {
                    **{"layer": about.layer, "unit": about.unit, "name": about.description, "outcome": about.outcome},
                    **{"r": r, "r_low": low, "r_high": high, "p": p},
                    **{"win_rate": about.win_rate, "support": about.support},
                }
            )
        return rows

    @cached_property
    def _exemplars(self) -> dict[tuple[str, int], list[Exemplar]]:
        found: dict[tuple[str, int], list[Exemplar]] = {}
        rows = read_exemplars(self.layout)
        check_rows(self.manifest, self.layout.exemplars, len(rows))
        for exemplar in rows:
            found.setdefault((exemplar.layer, exemplar.unit), []).append(exemplar)
        return found

    def _kept(self, layer: str) -> TopImages:
        if layer not in self._top_images:
            kept = read_top_images(self.layout, layer)
            units = range(self.units(layer))
            for rows in (kept.indices, kept.values, kept.maps):
                self._fits(self.layout.top_images(layer), rows, units)
            if int(kept.indices.max()) >= len(self.images):
                raise ValueError(
                    f"Expected places of {len(self.images)} images in {str(self.layout.top_images(layer))!r} but got "
                    f"{int(kept.indices.max())}; describe again"
                )
            self._top_images[layer] = kept
        return self._top_images[layer]

    def _fits(self, path: Path, rows: Tensor | None, of: Sized) -> Tensor:
        """`rows`, refused where they are not as many as the manifest says: a folder may come from anybody."""
        if rows is None or rows.ndim < 2 or len(rows) != len(of):
            got = "none" if rows is None else str(tuple(rows.shape))
            raise ValueError(f"Expected {len(of)} rows in {str(path)!r} but got {got}; describe again")
        return rows

    def _known(self, layer: str) -> str:
        if layer not in self.layers:
            raise ValueError(
                f"Expected a dissected layer ({', '.join(self.layers)}) but got {layer!r}{nearest(layer, self.layers)}"
            )
        return layer
