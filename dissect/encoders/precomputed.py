"""Embeddings computed elsewhere: rows of safetensors files, beside the pictures and beside the word list."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import normalize

from ..fingerprints import digest
from ..probe.probe_images import ProbeImages
from .concepts import ConceptSet


@dataclass(frozen=True)
class PrecomputedEncoder:
    """Embeddings of the images from `path` (tensor `embeddings`, rows in the probe's order), of the phrases from the
    safetensors file beside the word list, rows in the order of its lines."""

    path: str

    @cached_property
    def identity(self) -> str:
        return f"precomputed {digest(self._image_rows)}"

    @cached_property
    def _image_rows(self) -> Float[Tensor, "rows dim"]:
        return _embeddings(Path(self.path))

    def usable(self, probe: ProbeImages, concepts: ConceptSet) -> tuple[ProbeImages, ConceptSet, list[str]]:
        """Probe and concepts without those whose row is not finite or all zeros, and the concepts' names.

        What is left out of the probe is listed in its `skipped`.

        Raises:
            ValueError: rows that do not fit the probe or the concepts, or image and text rows of two sizes.
        """
        image_rows, text_rows = self._rows_of(probe), self._rows_of_concepts(concepts)
        if image_rows.shape[1] != text_rows.shape[1]:
            raise ValueError(
                f"Expected embeddings of one size but got {image_rows.shape[1]} of the images in {self.path!r} and "
                f"{text_rows.shape[1]} of the phrases in {str(concepts.embeddings_file)!r}: take both from one model"
            )
        named = list(zip(concepts.names, _has_direction(text_rows).tolist(), strict=True))
        dropped = [name for name, good in named if not good]
        concepts = replace(concepts, names=tuple(name for name, good in named if good))
        return _without(probe, _has_direction(image_rows), len(self._image_rows)), concepts, dropped

    def encode_images(self, probe: ProbeImages) -> Float[Tensor, "images dim"]:
        return normalize(self._rows_of(probe), dim=-1)

    def encode_texts(self, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]:
        return normalize(self._rows_of_concepts(concepts), dim=-1)

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        return concepts, 0

    def _rows_of(self, probe: ProbeImages) -> Float[Tensor, "images dim"]:
        rows = self._image_rows
        if len(rows) == probe.found:
            return rows[list(probe.positions)]
        if len(rows) != len(probe):
            raise ValueError(
                f"Expected one row of embeddings in {self.path!r} for each of the {probe.found} probe images "
                f"but got {len(rows)}"
            )
        return rows

    def _rows_of_concepts(self, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]:
        if concepts.embeddings_file is None:
            raise ValueError(
                f"Expected text embeddings beside the word list but got none for {concepts.source!r}: with precomputed "
                "images, give WORDS.txt with a WORDS.safetensors (tensor 'embeddings', a row a line) next to it"
            )
        if concepts.templates != ("{}",):
            raise ValueError(
                f"Expected no templates with precomputed text embeddings but got {list(concepts.templates)}"
            )
        rows = _embeddings(concepts.embeddings_file)
        lines = list(concepts.lines)
        if len(rows) != len(lines):  # a file that was made without the blank lines
            lines = [line for line in lines if line]
        if len(rows) != len(lines):
            raise ValueError(
                f"Expected a row of {str(concepts.embeddings_file)!r} for each of the {len(concepts.lines)} lines "
                f"({len(lines)} not blank) of {concepts.source!r} but got {len(rows)}"
            )
        first = {line: i for i, line in reversed(list(enumerate(lines)))}
        return rows[[first[name] for name in concepts.names]]


def _has_direction(rows: Float[Tensor, "rows dim"]) -> Tensor:
    """Which rows are finite and not all zeros."""
    return rows.isfinite().all(1) & (rows != 0).any(1)


def _without(probe: ProbeImages, good: Tensor, rows: int) -> ProbeImages:
    """The probe without the images whose row is not good; they are listed as skipped.

    Raises:
        ValueError: none is left.
    """
    if good.all():
        return probe
    kept = good.nonzero()[:, 0].tolist()
    bad = (~good).nonzero()[:, 0].tolist()
    if not kept:
        raise ValueError(f"Expected finite embeddings of {probe.source!r} but no row is (NaN, infinite or all zeros)")
    if rows != probe.found:  # they are of this probe's images alone: places among those go on
        probe = probe.alone()
    skipped = tuple((probe.names[i], "its row of embeddings is not finite, or all zeros") for i in bad)
    return probe.some(kept, skipped=skipped)


def _embeddings(path: Path) -> Float[Tensor, "rows dim"]:
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a safetensors file with 'embeddings' but got {str(path)!r}, which does not exist"
        )
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            if "embeddings" not in keys:
                raise ValueError(f"Expected a tensor 'embeddings' in {str(path)!r} but got {', '.join(keys) or 'none'}")
            rows = file.get_tensor("embeddings")
    except SafetensorError as error:
        raise ValueError(f"Expected a whole safetensors file but got {str(path)!r} ({error}); copy it anew") from error
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"Expected 'embeddings' (rows, dim) in {str(path)!r} but got {tuple(rows.shape)}")
    return rows.float()
