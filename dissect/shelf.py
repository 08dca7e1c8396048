"""The recorded shards of a dissection folder: which are there under the right key, which are missing, all of one layer.

activations/LAYER/00000.safetensors, embeddings/images/00000.safetensors, ...: a file a shard of the images, written
whole. tops/LAYER.safetensors: the top images of all shards, merged when the last one is there.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

from torch import Tensor, nn

from .packing import joined, pack, unpack
from .probe import ProbeImages
from .recording import Shard, shards_of
from .records import LayerRecord
from .store import digest, holds, load_tensors, save_tensors
from .tops import Tops, merged


@dataclass(frozen=True)
class Shelf:
    """The place of one recording in `folder`. `made_from` is what the layers' shards depend on beside their images."""

    folder: Path
    probe: ProbeImages
    layers: Sequence[str]
    made_from: str
    encoder: str

    @property
    def shards(self) -> list[range]:
        return shards_of(len(self.probe))

    def missing(self, shards: Sequence[range]) -> tuple[list[str], bool, list[range]]:
        """What is not there for all of `shards`: layers, whether embeddings, and of which shards."""
        recorded = {name: self._recorded(name, shards) for name in self.layers}
        layers = [name for name, there in recorded.items() if len(there) < len(shards)]
        embedded = {shard for shard in shards if holds(*self._embeddings(shard))}
        whole = embedded.intersection(*(recorded[name] for name in layers))
        return layers, len(embedded) < len(shards), [shard for shard in shards if shard not in whole]

    def put(self, shard: Shard, model: nn.Module) -> None:
        """Write one shard: each of its files whole."""
        for name, record in shard.records.items():
            assert record.tops is not None
            path, key = self._tops(name, shard.images)
            save_tensors(path, record.tops.tensors(), key=key)
            path, key = self._activations(name, shard.images)
            save_tensors(path, pack(record, model.get_submodule(name)), key=key)
        if shard.embeddings is not None:
            self.put_embeddings(shard.images, shard.embeddings)

    def put_embeddings(self, shard: range, embeddings: Tensor) -> None:
        path, key = self._embeddings(shard)
        save_tensors(path, {"embeddings": embeddings}, key=key)

    def settle(self) -> None:
        """When all shards are there: merge their top images, and remove files of shards that are no more."""
        for name in self.layers:
            path, key = self._all_tops(name)
            if not holds(path, key):
                parts = (Tops.from_tensors(load_tensors(self._tops(name, shard)[0]) or {}) for shard in self.shards)
                whole = reduce(lambda left, right: merged([left, right]), parts)
                save_tensors(path, whole.tensors(), key=key)
            shutil.rmtree(self.folder / "tops" / name, ignore_errors=True)
        places = [self.folder / "activations" / name for name in self.layers]
        for place in [*places, self.folder / "embeddings" / "images"]:
            for file in sorted(place.glob("*.safetensors"))[len(self.shards) :]:
                file.unlink()

    def _recorded(self, layer: str, shards: Sequence[range]) -> set[range]:
        merged_already = holds(*self._all_tops(layer))
        return {
            shard
            for shard in shards
            if holds(*self._activations(layer, shard)) and (merged_already or holds(*self._tops(layer, shard)))
        }

    @cached_property
    def _contents(self) -> dict[int, str]:
        return {shard.start: digest(self.probe.hashes[shard.start : shard.stop]) for shard in self.shards}

    def _key(self, *made_from: str, shard: range) -> str:
        return digest(*made_from, shard.start, self._contents[shard.start])

    def _activations(self, layer: str, shard: range) -> tuple[Path, str]:
        return self.folder / "activations" / layer / _name(shard), self._key(layer, self.made_from, shard=shard)

    def _tops(self, layer: str, shard: range) -> tuple[Path, str]:
        return self.folder / "tops" / layer / _name(shard), self._activations(layer, shard)[1]

    def _all_tops(self, layer: str) -> tuple[Path, str]:
        keys = [self._activations(layer, shard)[1] for shard in self.shards]
        return self.folder / "tops" / f"{layer}.safetensors", digest(keys)

    def _embeddings(self, shard: range) -> tuple[Path, str]:
        return self.folder / "embeddings" / "images" / _name(shard), self._key(self.encoder, shard=shard)


def read_record(folder: Path, layer: str) -> LayerRecord:
    """What lies in `folder` of one layer, whatever it was made from.

    Raises:
        FileNotFoundError: nothing.
    """
    whole = _joined(folder / "activations" / layer, unpacked=True)
    return LayerRecord.from_tensors(layer, whole, read_tops(folder, layer))


def read_tops(folder: Path, layer: str) -> Tops:
    """The top images of one layer that lie in `folder`.

    Raises:
        FileNotFoundError: there are none.
    """
    path = folder / "tops" / f"{layer}.safetensors"
    flat = load_tensors(path)
    if flat is None:
        raise FileNotFoundError(f"Expected the top images of layer {layer!r} in {str(path)!r} but got none")
    return Tops.from_tensors(flat)


def read_embeddings(folder: Path) -> Tensor:
    """The embeddings of the probe images that lie in `folder`, in their order."""
    return _joined(folder / "embeddings" / "images", unpacked=False)["embeddings"]


def _joined(place: Path, *, unpacked: bool) -> dict[str, Tensor]:
    """The rows of all shards in `place`; a file's name says where its rows begin."""
    files = sorted(place.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"Expected recorded shards in {str(place)!r} but got none")

    def read(file: Path) -> tuple[range, Mapping[str, Tensor]]:
        flat = load_tensors(file)
        if flat is None:
            raise FileNotFoundError(f"Expected {str(file)!r} to be whole but it is not; describe again")
        flat = unpack(flat) if unpacked else flat
        start = int(file.stem)
        return range(start, start + len(next(iter(flat.values())))), flat

    return joined(map(read, files), read(files[-1])[0].stop)


def _name(shard: range) -> str:
    return f"{shard.start:09d}.safetensors"
