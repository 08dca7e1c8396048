"""What speaks for a name on images that did not choose it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .permutation_test import benjamini_hochberg, permutation_p_values
from .predictability import bootstrap, correlation, fisher, interval, top_precision

FALSE_DISCOVERIES = 0.05  # the level of Benjamini and Hochberg's rule over the units of a layer
OUTDONE = 1.96  # standard errors by which a rival predicts better


@dataclass(frozen=True)
class Evidence:
    """How well one name predicts its unit on the judging half, under the encoder that gave it.

    `predictability` is Pearson's correlation of the concept's score with the unit, `low` and `high` its 95 % bootstrap
    interval; `precision` the AUPRC of the unit's top 5 % of the images by that score (chance: .05, more where they
    tie). `p` comes from permuted images, `q` is the level of false discoveries in the layer at which the name still
    stands: at .05 no more than 5 % of the layer's names are expected to be chance. `rival` is another concept that
    predicts the unit clearly better ("": none does); with one the name never stands.
    """

    predictability: float
    low: float
    high: float
    precision: float
    p: float
    q: float
    rival: str = ""

    @property
    def stands(self) -> bool:
        """No chance, and no rival."""
        return self.q <= FALSE_DISCOVERIES


@dataclass(frozen=True)
class Observations:
    """What names are judged by, one row a block of pictures; only blocks of one stratum are exchanged."""

    targets: Float[Tensor, "observations units"]
    image_embeddings: Float[Tensor, "observations dim"]
    strata: Int[Tensor, "observations"]


def evaluate_names(
    judged: Observations,
    concept_embeddings: Float[Tensor, "concepts dim"],
    *,
    chosen: Int[Tensor, "units"],
    rivals: Int[Tensor, "units"],
    names: tuple[str, ...],
) -> list[Evidence]:
    """The evidence for each unit's `chosen` concept, against its rival, both from the other half of the images.

    A rival counts if it predicts the unit better in both ways: its correlation is higher, by 1.96 bootstrap standard
    errors of the paired difference (in Fisher's z), and so is its precision. A unit whose rival is its own concept has
    none.
    """
    own, others = (judged.image_embeddings.double() @ concept_embeddings[at].double().T for at in (chosen, rivals))
    targets = judged.targets.double()
    r, drawn = correlation(targets, own), bootstrap(targets, own)
    low, high = interval(r, drawn)
    precision = top_precision(targets, own)
    p = permutation_p_values(targets, own, strata=judged.strata)
    lead = fisher(correlation(targets, others)) - fisher(r)
    outdone = lead > OUTDONE * (bootstrap(targets, others) - drawn).std(0)
    outdone &= (top_precision(targets, others) > precision) & (rivals != chosen)
    q = benjamini_hochberg(torch.where(outdone, 1.0, p))  # a p that only grew keeps the rule's promise
    beaten_by = [
        names[rival] if beaten else "" for rival, beaten in zip(rivals.tolist(), outdone.tolist(), strict=True)
    ]
    figures = (column.tolist() for column in (r, low, high, precision, p, q))
    return [Evidence(*row) for row in zip(*figures, beaten_by, strict=True)]
