"""The recorded shards of a dissection: which are there under the right key, which are missing, all of one layer.

A file a shard of the images, written whole. Its key is of the shard's own content, so that it stays what it is when
other images come or go: then only the place where its images begin changes. The top images of all shards are merged
when all are there.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from competition_layers.files import write_file

from ..fingerprints import digest
from ..probe.probe_images import ProbeImages
from ..recording.layer_record import LayerRecord, joined
from ..recording.recording import Shard
from ..recording.shards import shards_of
from ..recording.top_images import TopImages, content_ranks, merged
from .layout import Layout, shard, shards_in
from .packing import pack, unpack
from .tensors import holds, load_tensors, save_tensors


@dataclass(frozen=True)
class ShardStore:
    """The place of one recording. `made_from` is what the layers' shards depend on beside their images, `encoder` the
    same of the embeddings."""

    layout: Layout
    probe: ProbeImages
    layers: Sequence[str]
    made_from: str
    encoder: str

    @cached_property
    def shards(self) -> list[range]:
        """The images of each shard."""
        return shards_of(self.probe.hashes)

    def missing(self, shards: Sequence[range]) -> tuple[list[str], bool, list[range]]:
        """What is not there for all of `shards`: layers, whether embeddings, and of which shards."""
        recorded = {
            name: {s for s in shards if self._activations(name, s).find() and self._tops(name, s).find()}
            for name in self.layers
        }
        layers = [name for name, there in recorded.items() if len(there) < len(shards)]
        embedded = {images for images in shards if self._embeddings(images).find()}
        whole = embedded.intersection(*(recorded[name] for name in layers))
        return layers, len(embedded) < len(shards), [images for images in shards if images not in whole]

    def write(self, made: Shard, model: nn.Module) -> None:
        """Write one shard: each of its files whole."""
        for name, record in made.records.items():
            assert record.top_images is not None
            self._tops(name, made.image_range).save(record.top_images.tensors())
            self._activations(name, made.image_range).save(pack(record, model.get_submodule(name)))
        if made.image_embeddings is not None:
            self.write_embeddings(made.image_range, made.image_embeddings)

    def write_embeddings(self, image_range: range, image_embeddings: Float[Tensor, "images dim"]) -> None:
        """Write the embeddings of one shard.

        Raises:
            ValueError: some are not finite; the images are named.
        """
        bad = (~image_embeddings.isfinite().all(1)).nonzero()[:, 0].tolist()
        if bad:
            names = [self.probe.names[image_range[i]] for i in bad[:5]]
            raise ValueError(
                f"Expected finite embeddings but the encoder gives NaN or infinity for {len(bad)} images: "
                f"{', '.join(names)}{', ...' * (len(bad) > 5)}; leave them out of the probe"
            )
        self._embeddings(image_range).save({"embeddings": image_embeddings})

    def finalise(self) -> None:
        """When all shards are there: their files where they belong and no others, and their top images merged."""
        _arrange([self._embeddings(images) for images in self.shards])
        order = content_ranks(self.probe.hashes)
        for name in self.layers:
            parts = [self._tops(name, images) for images in self.shards]
            _arrange([self._activations(name, images) for images in self.shards])
            _arrange(parts)
            path, key = self.layout.top_images(name), digest([(part.start, part.key) for part in parts])
            if not holds(path, key):
                kept = (TopImages.from_tensors(load_tensors(part.path) or {}).moved(part.start) for part in parts)
                whole = reduce(lambda left, right: merged([left, right], order), kept)
                save_tensors(path, whole.tensors(), key=key)

    @cached_property
    def _contents(self) -> dict[int, str]:
        return {images.start: digest(self.probe.hashes[images.start : images.stop]) for images in self.shards}

    def _activations(self, layer: str, image_range: range) -> "_File":
        return self._file(self.layout.activation_shards(layer), layer, image_range, self.made_from)

    def _tops(self, layer: str, image_range: range) -> "_File":
        return self._file(self.layout.top_shards(layer), layer, image_range, self.made_from)

    def _embeddings(self, image_range: range) -> "_File":
        return self._file(self.layout.image_shards, "images", image_range, self.encoder)

    def _file(self, place: Path, name: str, image_range: range, made_from: str) -> "_File":
        return _File(place, image_range.start, digest(name, made_from, self._contents[image_range.start]))


@dataclass(frozen=True)
class _File:
    """What is kept of one shard in the folder `place`; its images begin at `start` now."""

    place: Path
    start: int
    key: str

    @property
    def path(self) -> Path:
        return shard(self.place, self.start, self.key)

    def find(self) -> Path | None:
        """The file, wherever its images began when it was written; `None` without a whole one."""
        if holds(self.path, self.key):
            return self.path
        return next((path for _, key, path in shards_in(self.place) if key == self.key and holds(path, key)), None)

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        save_tensors(self.path, tensors, key=self.key)


def _arrange(files: Sequence[_File]) -> None:
    """Every shard of a folder under its name, and no other shards there."""
    for file in files:
        found = file.find()
        assert found is not None
        if found != file.path:
            with write_file(file.path) as temporary:
                shutil.copyfile(found, temporary)
    wanted = {file.path for file in files}
    for _, _, path in shards_in(files[0].place):
        if path not in wanted:
            path.unlink()


def copy_embeddings(source: Layout, target: Layout) -> None:
    """What one folder has embedded, into another of the same images: it is found there by content."""
    for path in (source.concept_embeddings, *(path for _, _, path in shards_in(source.image_shards))):
        with write_file(target.folder / path.relative_to(source.folder)) as temporary:
            shutil.copyfile(path, temporary)


def read_record(layout: Layout, layer: str, units: int | None = None) -> LayerRecord:
    """What lies in the folder of one layer, whatever it was made from.

    Args:
        units: how many the layer has, where it is known.

    Raises:
        FileNotFoundError: nothing. ValueError: it is damaged, or of other units.
    """
    whole = _read(layout.activation_shards(layer), partial(unpack, units=units))
    return LayerRecord.from_tensors(layer, whole, read_top_images(layout, layer))


def read_top_images(layout: Layout, layer: str) -> TopImages:
    """The top images of one layer that lie in the folder.

    Raises:
        FileNotFoundError: there are none.
    """
    flat = load_tensors(layout.top_images(layer))
    if flat is None:
        raise FileNotFoundError(
            f"Expected the top images of layer {layer!r} in {str(layout.top_images(layer))!r} but got none, or a "
            "damaged file; describe again"
        )
    try:
        return TopImages.from_tensors(flat)
    except KeyError as error:
        path = str(layout.top_images(layer))
        raise ValueError(f"Expected top images in {path!r} but got no {error}; describe again") from error


def read_image_embeddings(layout: Layout) -> Float[Tensor, "images dim"]:
    """The embeddings of the probe images that lie in the folder, in their order."""
    return _read(layout.image_shards, dict)["embeddings"]


def _read(place: Path, unpacked: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of all shards in a folder."""
    there = list(shards_in(place))
    if not there:
        raise FileNotFoundError(f"Expected recorded shards in {str(place)!r} but got none; describe again")

    def read(start: int, path: Path) -> tuple[range, Mapping[str, Tensor]]:
        flat = load_tensors(path)
        if flat is None:
            raise ValueError(f"Expected a whole file but {str(path)!r} is damaged; describe again")
        try:
            flat = unpacked(flat)
            return range(start, start + len(next(iter(flat.values())))), flat
        except (KeyError, IndexError, TypeError, RuntimeError, ValueError, StopIteration) as error:
            raise ValueError(f"Expected a whole file but got {str(path)!r} ({error}); describe again") from error

    last = read(there[-1][0], there[-1][2])[0]
    return joined((read(start, path) for start, _, path in there), last.stop)
