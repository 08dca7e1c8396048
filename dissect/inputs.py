"""What a dissection is made from: the network, the images, the encoder, the options; and their content hashes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from competition_layers import Competition, competitions

from .encoders.concepts import ConceptSet
from .encoders.protocol import ImageTextEncoder, PixelEncoder
from .fingerprints import digest, model_fingerprint
from .folder.layout import Layout
from .folder.shard_store import ShardStore
from .probe.probe_images import ProbeImages
from .recording.options import RecordingOptions
from .recording.subject import architecture, label_names


@dataclass(frozen=True)
class Inputs:
    """What a recording is made from; `options` are resolved for this network."""

    model: nn.Module
    probe: ProbeImages
    encoder: ImageTextEncoder
    options: RecordingOptions

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the network."""
        return model_fingerprint(self.model)

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """The options that a recording depends on."""
        return self.options.recorded(self.model)

    def store(self, layout: Layout) -> ShardStore:
        """The recording of these inputs in a folder."""
        by = (self.recorded[name] for name in ("summary", "transform", "batch_size"))
        # the rows of a file are found by place
        place = () if isinstance(self.encoder, PixelEncoder) else (self.probe.positions, self.probe.found)
        made_from = digest(self.fingerprint, *by)
        return ShardStore(layout, self.probe, self.recorded["layers"], made_from, digest(self.encoder.identity, place))

    def manifest(self, concepts: ConceptSet) -> dict[str, Any]:
        """Content hashes, and a few words for people."""
        return {
            "model": {
                "fingerprint": self.fingerprint,
                "architecture": architecture(self.model),
                "label_names": list(label_names(self.model)),
                "rules": inference_rules(self.model),
            },
            "probe": {
                "fingerprint": self.probe.fingerprint,
                "images": len(self.probe),
                "names": list(self.probe.names),
                "skipped": [list(entry) for entry in self.probe.skipped],
            },
            "concepts": {
                "fingerprint": concepts.fingerprint,
                "names": list(concepts.names),
                "templates": list(concepts.templates),
                "count": len(concepts),
                "source": Path(concepts.source).name,
            },
            "encoder": self.encoder.identity,
        }


def inference_rules(model: nn.Module) -> dict[str, str]:
    """How each competition of `model` picks its winners, in words."""
    return {name: _in_words(layer.competition) for name, layer in competitions(model).items()}


def _in_words(competition: Competition) -> str:
    return "argmax" if competition.inference == "argmax" else f"sample (noise {competition.noise_scale:g})"
