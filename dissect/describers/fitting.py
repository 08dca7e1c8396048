"""Ours: fit, do not pick. What the unit does over all images is a sum of a few concepts' scores; the first is its name.

1. The signal of each unit over the whole choosing half; where it competes, less half of its rivals' mean: the name
must tell which of them wins. 2. A sparse non-negative regression on the scores of all concepts, and of what describers
before it found: several meanings, with weights. The first is the best predictor (`first_terms`). 3. A meaning stays if
pictures that carry it raise the unit over others: pictures made of it, where nothing makes any those of the probe that
score highest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from competition_layers import competitions
from competition_layers.groups import group_numbers

from ..backends.protocols import TextToImage
from ..encoders.space import Space, with_phrases
from ..naming.description import FITTED, Candidate
from ..naming.near_duplicates import block_means
from ..naming.permutation_test import standardised
from ..naming.predictability import TOP_SHARE, best_predictors, prediction_targets
from ..naming.verifying import describable
from ..recording.subject import label_names
from .describer import Probed, Proposals
from .own_names import ROUNDS, own_names
from .sparse_fit import SparseFit, raised, sparse_fit
from .tools import Tools

METHOD = FITTED
TERMS = 5
RIVALS = 0.5  # of the rivals' mean is taken off: of 0, .25, .5, 1, 2 the most at which held-out r loses nothing
MADE = 10  # pictures of a phrase
FEWEST = 5  # pictures of the probe that are taken to carry a concept


@dataclass(frozen=True)
class Fitting:
    """The describer. `text_to_image` makes the pictures of step 3; None retrieves them from the choosing half."""

    text_to_image: TextToImage | None = None

    @property
    def method(self) -> str:
        return METHOD

    @property
    def options(self) -> Mapping[str, Any]:
        made = None if self.text_to_image is None else self.text_to_image.identity
        return {
            "terms": TERMS,
            "rivals": RIVALS,
            "own": ROUNDS,
            "pictures": made,
            "unmade": "found",
            "counts": [MADE, FEWEST],
        }

    def propose(self, probed: Probed) -> Proposals:
        """Up to five meanings a unit, in the order in which they came into the fit; `similarity` is the weight."""
        heard = [c.description for said in probed.earlier.values() for of in said.candidates for c in of]
        space = with_phrases(probed.space, heard, probed.encoder, probed.concepts)
        choosing, values = probed.halves.choosing, probed.values
        blocks = probed.halves.blocks[choosing]
        targets = block_means(prediction_targets(values.values, values.won)[choosing], blocks)
        images = block_means(space.image_embeddings[choosing], blocks)
        signals, phrases = _beside_rivals(targets, self._groups(probed)), space.concept_embeddings
        first = None if values.won is not None else first_terms(targets, images, phrases, classes=_of_classes(probed))
        fit = sparse_fit(signals, images, phrases, terms=TERMS, first=first)
        stays = (fit.weights > 0) & describable(values, probed.halves)[0][:, None]
        raises = _by_retrieval(targets, images, space, fit)
        if self.text_to_image is not None:
            raises = self._by_made_pictures(self.text_to_image, probed, space, fit, raises)
        stays &= raises
        rows = zip(fit.concepts.tolist(), fit.weights.tolist(), stays.tolist(), strict=True)
        candidates = [
            tuple(
                Candidate(space.names[concept], weight, METHOD)
                for concept, weight, kept in zip(*row, strict=True)
                if kept
            )
            for row in rows
        ]
        return Proposals(candidates, {"explained": fit.explained.float()})

    def _groups(self, probed: Probed) -> Int[Tensor, "units"] | None:
        layer = competitions(probed.reader.model).get(probed.layer)
        return None if layer is None else group_numbers(probed.units, layer.groups.competitors, layer.groups.layout)

    def _by_made_pictures(
        self,
        maker: TextToImage,
        probed: Probed,
        space: Space,
        fit: SparseFit,
        retrieved: Bool[Tensor, "units terms"],
    ) -> Bool[Tensor, "units terms"]:
        """Pictures of a phrase against those of all other phrases; `retrieved` of one that nothing was made of."""
        made, of = [], []
        for concept in fit.concepts[fit.weights > 0].unique().tolist():
            pictures = maker.draw(space.names[concept], MADE)
            made += pictures
            of += [concept] * len(pictures)
        if not made:
            return retrieved
        seen = probed.reader.values(made)
        values = prediction_targets(seen.values, seen.won)
        pictured, raises = torch.tensor(of), torch.zeros_like(retrieved)
        for term, concepts in enumerate(fit.concepts.unbind(1)):
            carry = pictured[:, None] == concepts
            raises[:, term] = raised(values, carry).where(carry.any(0), retrieved[:, term])
        return raises


def from_tools(tools: Tools) -> Fitting:
    """The describer, with what makes pictures of phrases where that was named."""
    return Fitting(tools.pictures)


def first_terms(
    targets: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    phrases: Float[Tensor, "concepts dim"],
    *,
    classes: bool,
) -> Int[Tensor, "units"]:
    """Of units that do not compete, the concept that most likely predicts each on other images; where a unit is a
    class, a name of its own. (Competing units are told from their rivals: there the plain best predictor does that.)"""
    if classes:
        return own_names(targets, images.to(phrases), phrases)
    return best_predictors(targets, images, phrases, shrunk=True)


def _of_classes(probed: Probed) -> bool:
    """Whether units are classes: as many as the network names."""
    return probed.units == len(label_names(probed.reader.model))


def _beside_rivals(
    targets: Float[Tensor, "images units"], group: Int[Tensor, "units"] | None
) -> Float[Tensor, "images units"]:
    """The standardised signals, less a share of the mean of those that each competes with."""
    signals = standardised(targets)
    if group is None:
        return signals
    sums = torch.zeros(len(signals), int(group.max()) + 1, dtype=signals.dtype).index_add_(1, group, signals)
    rivals = group.bincount()[group] - 1
    return signals - RIVALS * (sums[:, group] - signals) / rivals


def _by_retrieval(
    targets: Float[Tensor, "images units"], images: Float[Tensor, "images dim"], space: Space, fit: SparseFit
) -> Bool[Tensor, "units terms"]:
    """The images that score highest for a concept, the top 5 %, against the others."""
    count = min(max(FEWEST, round(TOP_SHARE * len(images))), len(images))
    raises = torch.zeros_like(fit.concepts, dtype=torch.bool)
    for term, concepts in enumerate(fit.concepts.unbind(1)):
        scores = images @ space.concept_embeddings[concepts].double().T
        best = scores.topk(count, dim=0).indices
        carry = torch.zeros_like(scores, dtype=torch.bool).scatter_(0, best, True)
        raises[:, term] = raised(targets, carry)
    return raises
