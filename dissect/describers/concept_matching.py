"""Name each unit by the concept of a list that fits its activations best.

CLIP-Dissect (Oikarinen & Weng 2023, sec. 3); for competitions DISCOVER (Panousis & Chatzis 2023, sec. 3). The halves
and the tests are ours: `naming/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..encoders.space import Space
from ..naming.description import Candidate, Description
from ..naming.halves import Halves
from ..naming.synonyms import distinct_names
from ..naming.verifying import MINIMUM_SUPPORT, describable, descriptions, verified
from ..recording.layer_record import LayerRecord
from ..recording.unit_values import UnitValues
from ..similarity import SIMILARITIES, scores_and_prior
from ..similarity.claims import FEW, FREE, SHARPNESS
from .describer import Probed, Proposals
from .naming import Naming
from .tools import Tools

METHOD = "clip-dissect"
CANDIDATES = 5
_LOOKED_AT = 5 * CANDIDATES  # of a unit's best concepts, near-synonyms among them


@dataclass(frozen=True)
class ConceptMatching:
    """The describer: a similarity ranks the concepts on the choosing half; near-synonyms of a better one are left out.

    It keeps the similarity's `prior` over the layer: with it some of its units are named as all of them were.
    """

    naming: Naming = field(default_factory=Naming)
    method: str = METHOD

    @property
    def options(self) -> Mapping[str, Any]:
        return {"similarity": self.naming.similarity, "claims": ["ridge", FEW, SHARPNESS, FREE]}

    def propose(self, probed: Probed) -> Proposals:
        return _proposed(probed.record, probed.summary, probed.space, probed.halves, self.naming)


def from_tools(tools: Tools) -> ConceptMatching:
    """The describer by the similarity that the user chose."""
    return ConceptMatching(tools.naming)


def name_verified(
    record: LayerRecord, summary: str, space: Space, halves: Halves, naming: Naming | None = None
) -> tuple[tuple[Description, ...], Float[Tensor, "concepts"] | None]:
    """The descriptions of a layer's units, chosen and verified on the two halves, and the similarity's prior over the
    layer (None: it has none). Nothing of the judging half enters the choice: what is said of a name holds for other
    images like these."""
    naming = naming or Naming()
    found = _proposed(record, summary, space, halves, naming)
    described = verified(record, summary, found.candidates, space, halves, least_r=naming.least_r)
    return described, found.tensors.get("prior")


def name_units(
    record: LayerRecord, summary: str, space: Space, naming: Naming | None = None
) -> tuple[Description, ...]:
    """As published: each unit's best concept over all images, untested, and the next ones. A unit that says something
    on fewer than 3 images has none."""
    naming = naming or Naming()
    scores = score_units(record, summary, space, naming)
    described = record.support(summary) >= MINIMUM_SUPPORT
    return descriptions(record, summary, _candidates(scores, described, space), None, naming.least_r)


def score_units(
    record: LayerRecord,
    summary: str,
    space: Space,
    naming: Naming | None = None,
    *,
    prior: Float[Tensor, "concepts"] | None = None,
) -> Float[Tensor, "units concepts"]:
    """The similarity of every unit with every concept over all images; with the layer's `prior` the units may be some
    of it.

    Raises:
        ValueError: embeddings of other images than were recorded.
    """
    recorded, similarity = _recorded(record, summary, space), SIMILARITIES[(naming or Naming()).similarity]
    return similarity(recorded.values, space.image_embeddings, space.concept_embeddings, won=recorded.won, prior=prior)


def _proposed(record: LayerRecord, summary: str, space: Space, halves: Halves, naming: Naming) -> Proposals:
    values, seen = _recorded(record, summary, space), space.image_embeddings[halves.choosing]
    by, phrases = values.on(halves.choosing), space.concept_embeddings
    scores, prior = scores_and_prior(by.values, seen, phrases, similarity=naming.similarity, won=by.won)
    candidates = _candidates(scores, describable(values, halves)[0], space)
    return Proposals(candidates, {} if prior is None else {"prior": prior})


def _recorded(record: LayerRecord, summary: str, space: Space) -> UnitValues:
    recorded = record.unit_values(summary)
    if len(recorded.values) != len(space.image_embeddings):
        raise ValueError(
            f"Expected embeddings of the {len(recorded.values)} recorded images of layer {record.layer!r} but got "
            f"{len(space.image_embeddings)}"
        )
    return recorded


def _candidates(
    scores: Float[Tensor, "units concepts"], described: Tensor, space: Space
) -> Sequence[tuple[Candidate, ...]]:
    """Each unit's best concepts that mean different things; none where it is not to be described."""
    best = scores.topk(min(_LOOKED_AT, len(space.names)), dim=1)
    kept = distinct_names(best.indices, space.names, space.concept_embeddings, keep=CANDIDATES)
    rows = zip(best.values.tolist(), best.indices.tolist(), kept, described.tolist(), strict=True)
    return [
        tuple(Candidate(space.names[concepts[rank]], values[rank], METHOD) for rank in ranks) if known else ()
        for values, concepts, ranks, known in rows
    ]
