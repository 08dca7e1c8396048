"""Record, embed, score, name: the units of a network described. What was computed before is not computed again."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from .describers.concept_matching import ConceptMatching
from .describers.describer import Describer
from .describers.naming import Naming
from .encoders.concepts import ConceptSet
from .encoders.familiarity import encoder_warnings
from .encoders.precomputed import PrecomputedEncoder
from .encoders.protocol import ImageTextEncoder, PixelEncoder
from .encoders.space import Space
from .fingerprints import digest
from .folder.claim import claimed
from .folder.dissection import Dissection
from .folder.layout import Layout
from .folder.shard_store import ShardStore, copy_embeddings, read_image_embeddings, read_record
from .folder.strips import STRIPS, StripWriter
from .folder.tensors import FORMAT, load_tensors, save_tensors
from .inputs import Inputs
from .layer_names import LayerNames
from .naming.blocks import blocks_by
from .naming.halves import halve
from .naming.verifying import VERIFYING
from .probe.probe_images import ProbeImages
from .recording.options import RecordingOptions
from .recording.recorder import recording
from .recording.recording import record_shards

FEWEST_CONCEPTS = 3  # with fewer nothing can rival a name, and every unit that follows it a little would get it


@dataclass(frozen=True)
class DescribeOptions(RecordingOptions):
    """Options of a description: those of its recording, and these.

    Args:
        naming: the similarity that chooses names, and what they must reach.
        describers: who proposes names, in this order: a unit's name is the first candidate of the first that has any.
            None is concept matching by `naming`.
        overwrite: take over a folder that holds the dissection of another network.
    """

    naming: Naming = field(default_factory=Naming)
    describers: Sequence[Describer] | None = None
    overwrite: bool = False

    @property
    def proposing(self) -> tuple[Describer, ...]:
        """The describers."""
        return (ConceptMatching(self.naming),) if self.describers is None else tuple(self.describers)


def describe(
    model: nn.Module,
    probe: ProbeImages,
    concepts: ConceptSet,
    encoder: ImageTextEncoder,
    out: str | Path,
    options: DescribeOptions | None = None,
) -> Dissection:
    """Name the units of some layers and write the dissection folder `out`.

    A second call with the same inputs returns at once; with some of them changed, only what depends on those is
    computed; after a killed call, what is missing.

    Raises:
        ValueError: an unknown layer, similarity or summary (the nearest is offered); fewer than `FEWEST_CONCEPTS`;
            embeddings that do not fit.
        FileExistsError: `out` is no dissection, or of another network, or another command is at work on it.
    """
    options = options or DescribeOptions()
    probe, concepts, _ = usable(probe, concepts, encoder)
    inputs = Inputs(model, probe, encoder, options.resolved(model, probe))
    blocks = None if options.naming.blocks is None else blocks_by(probe.names, options.naming.blocks)
    decisive = {"options": inputs.recorded | _decisive(options), "blocks": blocks}
    made = {"format": FORMAT, **inputs.manifest(concepts), **decisive}
    key = digest(json.dumps(made, sort_keys=True))
    if (there := Dissection.unchanged(out, key)) is not None:
        return there
    with claimed(out, inputs.fingerprint, overwrite=options.overwrite) as layout:
        # phrases first: what the encoder refuses is told before the long work, and before anything is touched
        concept_embeddings = _embed_concepts(inputs, layout, concepts)
        store = inputs.store(layout)
        _record_and_embed(inputs, store, store.shards)
        layout.invalidate(inputs.fingerprint)
        store.finalise()
        space = Space(read_image_embeddings(layout), concept_embeddings, concepts.names)
        halves = halve(space.image_embeddings, blocks=blocks)
        names = LayerNames(inputs, layout, concepts, space, halves, blocks)
        names.warnings += encoder_warnings(encoder, space.image_embeddings)
        strips = StripWriter(layout, probe)
        for layer in store.layers:
            record = read_record(layout, layer)
            summary = next(iter(record.summaries))
            names.find(record, summary, options.proposing, least_r=options.naming.least_r)
            strips.draw(record, summary=summary)
        made |= names.write()
        strips.finish()
        made["rows"] = {"candidates": sum(len(one.candidates) for one in names.described), "exemplars": strips.rows}
        made["warnings"] = names.warnings + [
            f"{who} has nothing yet of {count} units, as the calls are used up (--max_calls); the same command goes on"
            for who, count in names.unasked.items()
        ]
        # without its key it is described again
        layout.finish({**made, "observations": halves.observations, "key": "" if names.unasked else key})
    return Dissection.open(out)


def describe_beside(
    dissection: Dissection,
    random: nn.Module,
    probe: ProbeImages,
    concepts: ConceptSet,
    encoder: ImageTextEncoder,
    options: DescribeOptions,
) -> Dissection:
    """Name the units of the same network with `random` weights by the same rules, into a folder inside `dissection`.

    How many of them have a name is what the images and the architecture alone give; it is written into the manifest of
    `dissection`, which is given back with it. Other arguments: as `describe` was called with.
    """
    layers = dissection.layers
    beside = replace(options, layers=list(layers), overwrite=True)
    copy_embeddings(dissection.layout, Layout(dissection.layout.beside_random))
    other = describe(random, probe, concepts, encoder, dissection.layout.beside_random, beside)
    named = {layer: other.outcomes(layer)["named"] for layer in layers}
    dissection.layout.finish({**dissection.manifest, "named_at_random": named})
    return Dissection.open(dissection.folder)


def record_share(
    model: nn.Module,
    probe: ProbeImages,
    encoder: ImageTextEncoder,
    out: str | Path,
    share: tuple[int, int],
    options: DescribeOptions | None = None,
) -> None:
    """Record and embed share i of n (counted from 0) of the images into `out`, beside processes that do the others.

    `describe` with the same options finds all shares there, and only names. A share that is missing it does itself.
    """
    if not 0 <= share[0] < share[1]:
        raise ValueError(f"Expected a share i/n with i between 0 and n-1 but got {share[0]}/{share[1]}")
    options = options or DescribeOptions()
    inputs = Inputs(model, probe, encoder, options.resolved(model, probe))
    with claimed(out, inputs.fingerprint, share=share, overwrite=options.overwrite) as layout:
        store = inputs.store(layout)
        _record_and_embed(inputs, store, store.shards[share[0] :: share[1]])


def usable(
    probe: ProbeImages, concepts: ConceptSet, encoder: ImageTextEncoder
) -> tuple[ProbeImages, ConceptSet, list[str]]:
    """The images and concepts that can be compared, and the names of concepts that were left out.

    Only rows of embeddings computed elsewhere are looked at: those that are not finite are left out.

    Raises:
        ValueError: rows that do not fit, or fewer than `FEWEST_CONCEPTS` concepts.
    """
    dropped: list[str] = []
    if isinstance(encoder, PrecomputedEncoder):
        probe, concepts, dropped = encoder.usable(probe, concepts)
    if len(concepts) < FEWEST_CONCEPTS:
        raise ValueError(
            f"Expected at least {FEWEST_CONCEPTS} concepts, since a name must be able to lose to a rival, but got "
            f"{len(concepts)}: {', '.join(concepts.names)}"
        )
    return probe, concepts, dropped


def _record_and_embed(inputs: Inputs, store: ShardStore, shards: Sequence[range]) -> None:
    """What is missing of `shards`, from one pass of their images through the network and the encoder."""
    encoder, options = inputs.encoder, inputs.options
    layers, embed, lacking = store.missing(shards)
    if lacking:
        store.layout.invalidate(inputs.fingerprint)
    pixels = encoder if embed and isinstance(encoder, PixelEncoder) else None
    with recording(inputs.model, layers, options.summaries) if layers else nullcontext() as recorder:
        for shard in record_shards(recorder, pixels, inputs.probe, lacking, options):
            store.write(shard, inputs.model)
    if embed and pixels is None:
        rows = encoder.encode_images(inputs.probe)
        for image_range in lacking:
            store.write_embeddings(image_range, rows[image_range.start : image_range.stop])


def _embed_concepts(inputs: Inputs, layout: Layout, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]:
    """The embeddings of the concepts, from the file if it was made from the same."""
    key = digest(inputs.encoder.identity, concepts.fingerprint)
    tensors = load_tensors(layout.concept_embeddings, key=key)
    if tensors is None:
        tensors = {"embeddings": inputs.encoder.encode_texts(concepts)}
        layout.invalidate(inputs.fingerprint)
        save_tensors(layout.concept_embeddings, tensors, key=key)
    return tensors["embeddings"]


def _decisive(options: DescribeOptions) -> dict[str, Any]:
    """The options that names depend on, beside the recording's."""
    return {
        "similarity": options.naming.similarity,
        "naming": {**VERIFYING, "least_r": options.naming.least_r},
        "describers": {describer.method: describer.options for describer in options.proposing},
        "strips": STRIPS,
    }
