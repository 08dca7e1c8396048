"""Record and embed: one pass of the probe images through the network and the encoder, shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from .activations import Recorder, default_transform, recording
from .encoders import PixelEncoder
from .packing import joined
from .passes import Transform, shared_batches
from .probe import ProbeImages
from .records import LayerRecord
from .tops import Tops, merged

SHARD = 1024  # images: what a killed run loses at most, and what recording holds in memory


@dataclass(frozen=True)
class Shard:
    """What one shard of the images did: the layers' records, and the encoder's embeddings."""

    images: range
    records: Mapping[str, LayerRecord]
    embeddings: Float[Tensor, "images dim"] | None


def record_activations(
    model: nn.Module,
    probe: ProbeImages,
    layers: str | Sequence[str],
    *,
    summaries: Sequence[str] | None = None,
    transform: Transform | None = None,
    batch_size: int = 64,
) -> dict[str, LayerRecord]:
    """Run `model` once over the probe images, in evaluation mode, and record every layer that `layers` (names or
    globs) matches.

    Competitions follow their saved rule; under `sample` the record holds the winners of the very pass whose values it
    holds, and the noise starts at the same seed each time.

    Args:
        summaries: names of `SUMMARIES`; by default one a layer: `cls` where the network reads its answer from a class
            token and the layer has tokens, else `mean`.
        transform: from a picture to the network's input; by default the model's own.

    Raises:
        ValueError: an unknown layer or summary (the nearest is offered), or `cls` where there is no class token.
        RuntimeError: a layer that runs more than once in a pass, by name.
    """
    transform = transform or default_transform(model)
    with recording(model, layers, summaries) as recorder:
        shards = list(record_shards(recorder, None, probe, transform, shards_of(len(probe)), batch_size=batch_size))
    return {
        name: LayerRecord.from_tensors(
            name,
            joined(((shard.images, shard.records[name].tensors()) for shard in shards), len(probe)),
            merged([shard.records[name].tops for shard in shards]),
        )
        for name in recorder.layers
    }


def shards_of(images: int) -> list[range]:
    """The images of each shard."""
    return [range(at, min(at + SHARD, images)) for at in range(0, images, SHARD)]


def record_shards(
    recorder: Recorder | None,
    encoder: PixelEncoder | None,
    probe: ProbeImages,
    transform: Transform,
    shards: Sequence[range],
    *,
    batch_size: int,
) -> Iterator[Shard]:
    """The shards one by one; each picture is decoded once for both, and shards do not depend on one another."""
    transforms = [transform] * (recorder is not None) + ([] if encoder is None else [encoder.preprocess])
    starts = [(at, shard.stop) for shard in shards for at in range(shard.start, shard.stop, batch_size)]
    runs = [range(at, min(at + batch_size, stop)) for at, stop in starts]
    ends = {shard.stop: shard for shard in shards}
    rows: dict[str, list[tuple[range, dict[str, Tensor]]]] = {}
    embeddings: list[Tensor] = []
    total = sum(map(len, shards))
    with tqdm(total=total, desc="record", unit="image", disable=None, leave=False) as steps:
        for run, inputs in shared_batches(probe, transforms, runs) if transforms else ():
            if recorder is not None:
                if run.start % SHARD == 0:
                    recorder.restart(run.start // SHARD)
                for name, flat in recorder(inputs[0], run).items():
                    rows.setdefault(name, []).append((run, flat))
            if encoder is not None:
                embeddings.append(encoder.encode_batch(inputs[-1]))
            steps.update(len(run))
            if run.stop in ends:
                tops = {} if recorder is None else recorder.tops
                yield _shard(ends[run.stop], rows, tops, embeddings)
                rows, embeddings = {}, []


def _shard(images: range, rows: Mapping, tops: Mapping[str, Tops], embeddings: Sequence[Tensor]) -> Shard:
    records = {}
    for name, parts in rows.items():
        local = ((range(run.start - images.start, run.stop - images.start), flat) for run, flat in parts)
        records[name] = LayerRecord.from_tensors(name, joined(local, len(images)), tops[name])
    return Shard(images, records, torch.cat(list(embeddings)) if embeddings else None)
