"""The names of a dissection's layers, one layer after the other: what describers propose, and what of it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from torch import nn

from competition_layers import competitions

from .backends.budget import CallsSpentError
from .describers.describer import Describer, Probed, Proposals
from .encoders.concepts import ConceptSet
from .encoders.space import Space, with_phrases
from .exemplars.collecting import collect_exemplars
from .fingerprints import digest
from .folder.exemplar_store import stored_exemplars
from .folder.layout import Layout
from .folder.tables import write_descriptions
from .folder.tensors import save_tensors
from .folder.unit_store import KeptUnits
from .inputs import Inputs
from .naming.alikeness import alikeness_warnings
from .naming.description import Candidate, Description
from .naming.halves import Halves
from .naming.verifying import verified
from .recording.layer_reader import LayerReader
from .recording.layer_record import LayerRecord


@dataclass
class LayerNames:
    """What was found so far: of each unit its description; of each layer, for the manifest, what it is; warnings; and
    by layer and describer how many units the calls did not suffice for."""

    inputs: Inputs
    layout: Layout
    concepts: ConceptSet
    space: Space
    halves: Halves
    blocks: Sequence[str] | None
    described: list[Description] = field(default_factory=list)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unasked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._wide = self.space  # and the phrases that describers found themselves

    def find(self, record: LayerRecord, summary: str, describers: Sequence[Describer], *, least_r: float) -> None:
        """The names of one more layer, from what its units did by `summary`."""
        layer, proposed = record.layer, dict[str, Proposals]()
        probed = self._probed(record, summary, proposed)
        for describer in describers:
            found = proposed[describer.method] = _proposals(describer, probed)
            _keep(self.layout, layer, describer.method, found)
            if found.unasked:
                self.unasked[f"{layer}: {describer.method}"] = len(found.unasked)
        candidates = self._readable(layer, proposed)  # the space grows by their phrases
        self.described += verified(record, summary, candidates, self._wide, self.halves, least_r=least_r)
        alike = alikeness_warnings(
            probed.values.values, self.space.image_embeddings, self.inputs.probe.names, self.blocks
        )
        self.warnings += [f"{layer}: {warning}" for warning in alike]
        about = {"units": probed.units, "summary": summary, "competes": record.won is not None}
        self.layers[layer] = about | _groups(self.inputs.model, layer)

    def write(self) -> dict[str, Any]:
        """Write descriptions, and the embeddings of phrases of no list; what the manifest says of them."""
        known = len(self.space.names)
        phrases = list(self._wide.names[known:])
        save_tensors(
            self.layout.phrase_embeddings,
            {"embeddings": self._wide.concept_embeddings[known:]},
            key=digest(phrases),
        )
        write_descriptions(self.layout, self.described)
        return {"layers": self.layers, "phrases": phrases}

    def _probed(self, record: LayerRecord, summary: str, earlier: Mapping[str, Proposals]) -> Probed:
        inputs, layer = self.inputs, record.layer
        options, probe, encoder = inputs.options, inputs.probe, inputs.encoder
        assert options.transform is not None
        reader = LayerReader(inputs.model, layer, summary, options.transform, options.batch_size)
        collect = partial(collect_exemplars, reader, probe, record.unit_values(summary), self.halves)
        looked_at = digest(inputs.fingerprint, inputs.recorded, probe.fingerprint, self.halves.choosing, layer)
        stored = partial(stored_exemplars, self.layout, layer, looked_at, collect)
        kept = KeptUnits(self.layout, layer, digest(looked_at, encoder.identity, self.concepts.fingerprint))
        return Probed(
            record, summary, probe, self.space, self.halves, self.concepts, encoder, reader, earlier, stored, kept
        )

    def _readable(self, layer: str, proposed: Mapping[str, Proposals]) -> list[tuple[Candidate, ...]]:
        """Each unit's candidates of all describers, those that the encoder reads; the space grows by them."""
        units = [tuple(chain.from_iterable(of)) for of in zip(*(p.candidates for p in proposed.values()), strict=True)]
        phrases = dict.fromkeys(candidate.description for of in units for candidate in of)
        self._wide = with_phrases(self._wide, phrases, self.inputs.encoder, self.concepts)
        read = set(self._wide.names)
        if unread := phrases.keys() - read:
            self.warnings.append(f"{layer}: the encoder does not read {len(unread)} of the phrases proposed")
        return [tuple(candidate for candidate in of if candidate.description in read) for of in units]


def _proposals(describer: Describer, probed: Probed) -> Proposals:
    """What it proposes; where the calls were spent before it began, nothing."""
    try:
        return describer.propose(probed)
    except CallsSpentError:
        return Proposals([()] * probed.units, unasked=tuple(range(probed.units)))


def _keep(layout: Layout, layer: str, method: str, proposals: Proposals) -> None:
    """What a describer keeps of a layer beside names."""
    path = layout.kept(layer, method)
    if proposals.tensors:
        save_tensors(path, proposals.tensors, key=digest(sorted(proposals.tensors.items())))
    else:
        path.unlink(missing_ok=True)


def _groups(model: nn.Module, layer: str) -> dict[str, Any]:
    """Which units of a layer compete with one another; nothing where it is no competition itself."""
    found = competitions(model).get(layer)
    return {} if found is None else {"competitors": found.groups.competitors, "layout": found.groups.layout}
