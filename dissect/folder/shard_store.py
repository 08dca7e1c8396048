"""The recorded shards of a dissection folder: which are there under the right key, which are missing, all of one layer.

activations/LAYER/START-KEY.safetensors, tops/LAYER/..., embeddings/images/...: a file a shard of the images, written
whole. Its key is of the shard's own content, so that it stays what it is when other images come or go: then only the
place where its images begin changes. tops/LAYER.safetensors: the top images of all shards, merged when all are there.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

from torch import Tensor, nn

from competition_layers.files import write_file

from ..probe.probe_images import ProbeImages
from ..recording.layer_record import LayerRecord
from ..recording.recording import Shard
from ..recording.top_images import TopImages, merged
from .packing import joined, pack, unpack
from .shards import shards_of
from .store import digest, holds, load_tensors, save_tensors


@dataclass(frozen=True)
class ShardStore:
    """The place of one recording in `folder`. `made_from` is what the layers' shards depend on beside their images."""

    folder: Path
    probe: ProbeImages
    layers: Sequence[str]
    made_from: str
    encoder: str

    @cached_property
    def shards(self) -> list[range]:
        return shards_of(self.probe.hashes)

    def missing(self, shards: Sequence[range]) -> tuple[list[str], bool, list[range]]:
        """What is not there for all of `shards`: layers, whether embeddings, and of which shards."""
        recorded = {
            name: {s for s in shards if self._activations(name, s).find() and self._tops(name, s).find()}
            for name in self.layers
        }
        layers = [name for name, there in recorded.items() if len(there) < len(shards)]
        embedded = {shard for shard in shards if self._embeddings(shard).find()}
        whole = embedded.intersection(*(recorded[name] for name in layers))
        return layers, len(embedded) < len(shards), [shard for shard in shards if shard not in whole]

    def put(self, shard: Shard, model: nn.Module) -> None:
        """Write one shard: each of its files whole."""
        for name, record in shard.records.items():
            assert record.tops is not None
            self._tops(name, shard.images).save(record.tops.tensors())
            self._activations(name, shard.images).save(pack(record, model.get_submodule(name)))
        if shard.embeddings is not None:
            self.put_embeddings(shard.images, shard.embeddings)

    def put_embeddings(self, shard: range, embeddings: Tensor) -> None:
        self._embeddings(shard).save({"embeddings": embeddings})

    def finalise(self) -> None:
        """When all shards are there: their files where they belong and no others, and their top images merged."""
        _settle([self._embeddings(shard) for shard in self.shards])
        for name in self.layers:
            tops = [self._tops(name, shard) for shard in self.shards]
            _settle([self._activations(name, shard) for shard in self.shards])
            _settle(tops)
            path, key = self.folder / "tops" / f"{name}.safetensors", digest([(file.start, file.key) for file in tops])
            if not holds(path, key):
                parts = (TopImages.from_tensors(load_tensors(file.path) or {}).moved(file.start) for file in tops)
                whole = reduce(lambda left, right: merged([left, right]), parts)
                save_tensors(path, whole.tensors(), key=key)

    @cached_property
    def _contents(self) -> dict[int, str]:
        return {shard.start: digest(self.probe.hashes[shard.start : shard.stop]) for shard in self.shards}

    def _activations(self, layer: str, shard: range) -> "_File":
        return self._file("activations", layer, shard, self.made_from)

    def _tops(self, layer: str, shard: range) -> "_File":
        return self._file("tops", layer, shard, self.made_from)

    def _embeddings(self, shard: range) -> "_File":
        return self._file("embeddings", "images", shard, self.encoder)

    def _file(self, what: str, name: str, shard: range, made_from: str) -> "_File":
        key = digest(name, made_from, self._contents[shard.start])
        return _File(self.folder / what / name, shard.start, key)


@dataclass(frozen=True)
class _File:
    """What is kept of one shard in the folder `place`; its images begin at `start` now."""

    place: Path
    start: int
    key: str

    @property
    def path(self) -> Path:
        return self.place / f"{self.start:09d}-{self.key}.safetensors"

    def find(self) -> Path | None:
        """The file, wherever its images began when it was written; `None` without a whole one."""
        if holds(self.path, self.key):
            return self.path
        return next((file for file in self.place.glob(f"*-{self.key}.safetensors") if holds(file, self.key)), None)

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        save_tensors(self.path, tensors, key=self.key)


def _settle(files: Sequence[_File]) -> None:
    """Every file of a folder under its name, and no other ones there."""
    for file in files:
        found = file.find()
        assert found is not None
        if found != file.path:
            with write_file(file.path) as temporary:
                shutil.copyfile(found, temporary)
    wanted = {file.path for file in files}
    for path in files[0].place.glob("*.safetensors"):
        if path not in wanted:
            path.unlink()


def read_record(folder: Path, layer: str) -> LayerRecord:
    """What lies in `folder` of one layer, whatever it was made from.

    Raises:
        FileNotFoundError: nothing.
    """
    whole = _joined(folder / "activations" / layer, unpacked=True)
    return LayerRecord.from_tensors(layer, whole, read_tops(folder, layer))


def read_tops(folder: Path, layer: str) -> TopImages:
    """The top images of one layer that lie in `folder`.

    Raises:
        FileNotFoundError: there are none.
    """
    path = folder / "tops" / f"{layer}.safetensors"
    flat = load_tensors(path)
    if flat is None:
        raise FileNotFoundError(f"Expected the top images of layer {layer!r} in {str(path)!r} but got none")
    return TopImages.from_tensors(flat)


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
        start = int(file.stem.partition("-")[0])
        return range(start, start + len(next(iter(flat.values())))), flat

    return joined(map(read, files), read(files[-1])[0].stop)
