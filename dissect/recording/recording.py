"""Record and embed: one pass of the probe images through the network and the encoder, shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from ..encoders.protocol import PixelEncoder
from ..fingerprints import digest
from ..probe.passes import Transform, shared_batches
from ..probe.probe_images import ProbeImages
from .layer_record import LayerRecord, joined
from .options import RecordingOptions
from .recorder import Recorder, recording
from .shards import shards_of
from .top_images import TopImages, content_ranks, merged


@dataclass(frozen=True)
class Shard:
    """What one shard of the images did: the layers' records, which count from its first image, and the embeddings."""

    image_range: range
    records: Mapping[str, LayerRecord]
    image_embeddings: Float[Tensor, "images dim"] | None


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
        ValueError: an unknown layer or summary (the nearest is offered), a layer that does not run once in a pass, or
            `cls` where there is no class token.
    """
    options = RecordingOptions(layers, transform=transform, batch_size=batch_size).resolved(model, probe)
    with recording(model, options.layers or (), summaries) as recorder:
        shards = list(record_shards(recorder, None, probe, shards_of(probe.hashes), options))
    order = content_ranks(probe.hashes)
    return {
        name: LayerRecord.from_tensors(
            name,
            joined(((shard.image_range, shard.records[name].tensors()) for shard in shards), len(probe)),
            merged([best.moved(s.image_range.start) for s in shards if (best := s.records[name].top_images)], order),
        )
        for name in recorder.layers
    }


def record_shards(
    recorder: Recorder | None,
    encoder: PixelEncoder | None,
    probe: ProbeImages,
    shards: Sequence[range],
    options: RecordingOptions,
) -> Iterator[Shard]:
    """The shards one by one; each picture is decoded once for both, and a shard depends on its own images alone."""
    assert options.transform is not None
    transforms: list[Transform] = [options.transform] * (recorder is not None)
    transforms += [] if encoder is None else [encoder.preprocess]
    size = options.batch_size
    batches = [(shard, shard[at : at + size]) for shard in shards for at in range(0, len(shard), size)]
    rows: dict[str, list[tuple[range, dict[str, Tensor]]]] = {}
    embeddings: list[Tensor] = []
    total = sum(map(len, shards))
    with tqdm(total=total, desc="record", unit="image", disable=None, leave=False) as steps:
        inputs_of = shared_batches(probe, transforms, [batch for _, batch in batches]) if transforms else ()
        for (shard, batch), (_, inputs) in zip(batches, inputs_of, strict=bool(transforms)):
            if recorder is not None:
                if batch.start == shard.start:
                    hashes = probe.hashes[shard.start : shard.stop]
                    recorder.restart(int(digest(hashes)[:8], 16), hashes)
                own = range(batch.start - shard.start, batch.stop - shard.start)
                for name, flat in recorder(inputs[0], own).items():
                    rows.setdefault(name, []).append((own, flat))
            if encoder is not None:
                embeddings.append(encoder.encode_batch(inputs[-1]))
            steps.update(len(batch))
            if batch.stop == shard.stop:
                yield _shard(shard, rows, {} if recorder is None else recorder.top_images, embeddings)
                rows, embeddings = {}, []


def _shard(
    image_range: range,
    rows: Mapping[str, Sequence[tuple[range, dict[str, Tensor]]]],
    top_images: Mapping[str, TopImages],
    embeddings: Sequence[Tensor],
) -> Shard:
    records = {
        name: LayerRecord.from_tensors(name, joined(parts, len(image_range)), top_images[name])
        for name, parts in rows.items()
    }
    return Shard(image_range, records, torch.cat(list(embeddings)) if embeddings else None)
