"""What names the same network would get with random weights: what a count of names is worth."""

from torch import nn

from ..describers.concept_matching import Naming, name_verified
from ..folder.dissection import Dissection
from ..naming.halves import halve
from ..naming.space import Space
from ..probe.probe_images import ProbeImages
from ..recording.recording import record_activations
from .figures import UntrainedNames
from .monosemanticity import alike_of
from .untrained import untrained_twin


def name_untrained(model: nn.Module, dissection: Dissection, layer: str, probe: ProbeImages) -> UntrainedNames:
    """The units of `layer` with random weights, named as the dissection's were: same pictures, concepts, similarity.

    Raises:
        ValueError: other pictures than those of the dissection.
    """
    if probe.fingerprint != dissection.manifest["probe"]["fingerprint"]:
        raise ValueError(
            f"Expected the {len(dissection.images)} pictures that {str(dissection.folder)!r} was made of but got "
            f"{probe.source!r} with others; name its units with random weights by `lwta describe --random-weights`"
        )
    summary = dissection.summary(layer)
    record = record_activations(untrained_twin(model), probe, layer, summaries=(summary,))[layer]
    vectors = dissection.image_embeddings().float()
    space = Space(vectors, dissection.concept_embeddings().float(), dissection.concepts)
    naming = Naming(similarity=dissection.manifest["options"]["similarity"])
    halves = halve(vectors, blocks=dissection.manifest.get("blocks"))
    named = [unit.description for unit in name_verified(record, summary, space, halves, naming)[0] if unit.named]
    return UntrainedNames(len(named), len(set(named)), alike_of(record, summary, vectors).median)
