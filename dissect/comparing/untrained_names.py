"""What names the same network would get with random weights: what the figures of names are worth."""

from dataclasses import dataclass

from torch import nn

from competition_layers.decision import SITE

from ..describers.concept_matching import name_verified
from ..describers.naming import Naming
from ..encoders.space import Space
from ..folder.dissection import Dissection
from ..naming.halves import halve
from ..probe.probe_images import ProbeImages
from ..recording.recording import record_activations
from ..recording.subject import label_names
from .decisions import measure_decision, unit_names
from .figures import UntrainedNames
from .measuring import inputs_of
from .monosemanticity import alike_of
from .untrained import untrained_twin


@dataclass(frozen=True)
class Untrained:
    """A dissected network with random weights, named as it was: same pictures, concepts, similarity.

    Args:
        probe: the pictures of the dissection.

    Raises:
        ValueError: other pictures than those of the dissection.
    """

    model: nn.Module
    dissection: Dissection
    probe: ProbeImages

    def __post_init__(self) -> None:
        if self.probe.fingerprint != self.dissection.manifest["probe"]["fingerprint"]:
            raise ValueError(
                f"Expected the {len(self.dissection.images)} pictures that {str(self.dissection.folder)!r} was made of "
                f"but got {self.probe.source!r} with others; name its units with random weights by "
                "`lwta describe --random-weights`"
            )

    def names(self, layer: str, data: ProbeImages, batch_size: int) -> UntrainedNames:
        """The names of the units of `layer`; of a decision layer also what its decisions on `data` rest on."""
        dissection, twin = self.dissection, untrained_twin(self.model)
        summary, vectors = dissection.summary(layer), dissection.image_embeddings().float()
        record = record_activations(twin, self.probe, layer, summaries=(summary,))[layer]
        space = Space(vectors, dissection.concept_embeddings().float(), dissection.concepts)
        naming = Naming(similarity=dissection.manifest["options"]["similarity"])
        halves = halve(vectors, blocks=dissection.manifest.get("blocks"))
        described = name_verified(record, summary, space, halves, naming)[0]
        named = [unit.description if unit.named else "" for unit in described]
        decision = None
        if layer == SITE:
            names = unit_names(named, dissection, label_names(twin))
            decision = measure_decision(twin, inputs_of(twin, data, batch_size), names).names
        return UntrainedNames(
            named=sum(map(bool, named)),
            distinct=len({*named} - {""}),
            alike=alike_of(record, summary, vectors).median,
            decision=decision,
        )
