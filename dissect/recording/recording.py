"""Record and embed: one pass of the probe images through the network and the encoder, shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from ..encoders.encoders import PixelEncoder
from ..folder.packing import joined
from ..folder.shards import shards_of
from ..folder.store import digest
from ..probe.passes import Transform, shared_batches
from ..probe.probe_images import ProbeImages
from .layer_record import LayerRecord
from .recorder import Recorder, default_transform, recording
from .top_images import TopImages, merged


@dataclass(frozen=True)
class Shard:
    """What one shard of the images did: the layers' records, which count from its first image, and the embeddings."""

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
        shards = list(record_shards(recorder, None, probe, transform, shards_of(probe.hashes), batch_size=batch_size))
    return {
        name: LayerRecord.from_tensors(
            name,
            joined(((shard.images, shard.records[name].tensors()) for shard in shards), len(probe)),
            merged([tops.moved(shard.images.start) for shard in shards if (tops := shard.records[name].tops)]),
        )
        for name in recorder.layers
    }


def record_shards(
    recorder: Recorder | None,
    encoder: PixelEncoder | None,
    probe: ProbeImages,
    transform: Transform,
    shards: Sequence[range],
    *,
    batch_size: int,
) -> Iterator[Shard]:
    """The shards one by one; each picture is decoded once for both, and a shard depends on its own images alone."""
    transforms = [transform] * (recorder is not None) + ([] if encoder is None else [encoder.preprocess])
    batches = [(shard, shard[at : at + batch_size]) for shard in shards for at in range(0, len(shard), batch_size)]
    rows: dict[str, list[tuple[range, dict[str, Tensor]]]] = {}
    embeddings: list[Tensor] = []
    total = sum(map(len, shards))
    with tqdm(total=total, desc="record", unit="image", disable=None, leave=False) as steps:
        inputs_of = shared_batches(probe, transforms, [batch for _, batch in batches]) if transforms else ()
        for (shard, batch), (_, inputs) in zip(batches, inputs_of, strict=bool(transforms)):
            if recorder is not None:
                if batch.start == shard.start:
                    recorder.restart(int(digest(probe.hashes[shard.start : shard.stop])[:8], 16))
                own = range(batch.start - shard.start, batch.stop - shard.start)
                for name, flat in recorder(inputs[0], own).items():
                    rows.setdefault(name, []).append((own, flat))
            if encoder is not None:
                embeddings.append(encoder.encode_batch(inputs[-1]))
            steps.update(len(batch))
            if batch.stop == shard.stop:
                yield _shard(shard, rows, {} if recorder is None else recorder.tops, embeddings)
                rows, embeddings = {}, []


def _shard(images: range, rows: Mapping, tops: Mapping[str, TopImages], embeddings: Sequence[Tensor]) -> Shard:
    records = {
        name: LayerRecord.from_tensors(name, joined(parts, len(images)), tops[name]) for name, parts in rows.items()
    }
    return Shard(images, records, torch.cat(list(embeddings)) if embeddings else None)
