"""Every measure of the judge: a function of `Seen` that gives a number a unit, higher is better. A line each.

`reads` says what `Seen.concept` is made of: `score`, an encoder's score of every held-out image for the label;
`pictures`, whether an image is a picture of the label; `drawn`, the same, with pictures made of it; `truth`, whether
the label is known to be true of an image; `effect` and `class`, the label's cosine with every class, beside the unit's
effect on each, or its own class; `sentence`, the latter by a sentence encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from .classes import ablation, text_similarity
from .correlation import correlation, correlation_with_truth
from .cosy import cosy_auc, cosy_mad
from .overlap import f1, iou
from .precision import label_finds_unit, unit_finds_label
from .rivals import rivals
from .seen import Seen

Reads = Literal["score", "pictures", "drawn", "truth", "effect", "class", "sentence"]


@dataclass(frozen=True)
class Measure:
    """A measure, what it reads, and one line about it for people."""

    of: Callable[[Seen], Float[Tensor, "units"]]
    reads: Reads
    about: str


MEASURES: dict[str, Measure] = {
    "r": Measure(correlation, "score", "correlation of the unit with its label's score over all held-out images"),
    "AUPRC": Measure(label_finds_unit, "score", "finding the unit's top 5 % of the images by that score"),
    "rivals": Measure(rivals, "score", "of the judged units of a group, which one wins: 1 in as many by chance"),
    "CoSy AUC": Measure(cosy_auc, "pictures", "the unit is higher on a picture of the label than on another"),
    "CoSy MAD": Measure(cosy_mad, "pictures", "by how many standard deviations"),
    "drawn AUC": Measure(cosy_auc, "drawn", "the same, on pictures made of the label and the held-out images"),
    "drawn MAD": Measure(cosy_mad, "drawn", "by how many standard deviations"),
    "true r": Measure(
        correlation_with_truth, "truth", "correlation of the unit with what the images are known to show"
    ),
    "true AUPRC": Measure(unit_finds_label, "truth", "finding the images with the named thing by the unit"),
    "F1": Measure(f1, "truth", "the unit's top 5 % of the images against those with the named thing"),
    "IoU": Measure(iou, "truth", "the same, both over either"),
    "effect": Measure(ablation, "effect", "over classes: what the unit's loss does, against the label's likeness"),
    "text": Measure(text_similarity, "class", "cosine of the label with the name of the unit's class"),
    "sentence": Measure(text_similarity, "sentence", "the same by a sentence encoder"),
}
