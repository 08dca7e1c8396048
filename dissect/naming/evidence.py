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
    interval; `precision` the AUPRC of the unit's top 5 % of the images by that score (chance: .05). `p` comes from
    permuted images, `q` is the level of false discoveries in the layer at which the name still stands: at .05 no more
    than 5 % of the layer's names are expected to be chance. `rival` is another concept that predicts the unit clearly
    better ("": none does); with one the name never stands.
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


def evaluate_names(
    answers: Float[Tensor, "observations units"],
    images: Float[Tensor, "observations dim"],
    concepts: Float[Tensor, "concepts dim"],
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
    scores, others = (images.double() @ concepts[which].double().T for which in (chosen, rivals))
    answers = answers.double()
    r, drawn = correlation(answers, scores), bootstrap(answers, scores)
    low, high = interval(r, drawn)
    precision = top_precision(answers, scores)
    p = permutation_p_values(answers, scores)
    lead = fisher(correlation(answers, others)) - fisher(r)
    outdone = lead > OUTDONE * (bootstrap(answers, others) - drawn).std(0)
    outdone &= (top_precision(answers, others) > precision) & (rivals != chosen)
    q = benjamini_hochberg(torch.where(outdone, 1.0, p))  # a p that only grew keeps the rule's promise
    figures = torch.stack([r, low, high, precision, p, q], 1).tolist()
    return [
        Evidence(*row, rival=names[rival] if beaten else "")
        for row, rival, beaten in zip(figures, rivals.tolist(), outdone.tolist(), strict=True)
    ]
