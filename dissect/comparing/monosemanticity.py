"""MS score: how alike are the pictures that a unit answers to (Pach et al. 2025, arXiv 2504.02821, section 4)."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..folder.dissection import Dissection
from ..naming.predictability import prediction_targets
from ..recording.layer_record import LayerRecord
from .figures import Alike


def ms_scores(
    activations: Float[Tensor, "images units"], images: Float[Tensor, "images dim"]
) -> Float[Tensor, "units"]:
    """The mean cosine of two pictures, weighted by how strongly a unit answers to both; NaN for a constant unit.

    a: activations scaled to 0 .. 1 for each unit, e: unit vectors of the pictures.

        MS = sum_{i<j} a_i a_j e_i.e_j / sum_{i<j} a_i a_j

    No pair is formed: the sum over all i, j is |sum_i a_i e_i|^2, less the terms with i = j.
    """
    a = activations.double()
    a = (a - a.amin(0)) / (a.amax(0) - a.amin(0))
    e = torch.nn.functional.normalize(images.double(), dim=1)
    squares = a.square().sum(0)
    pairs = a.sum(0).square() - squares
    return (((a.t() @ e).square().sum(1) - squares) / pairs).float()


def measure_alike(dissection: Dissection, layer: str) -> Alike:
    """The MS scores of a dissected layer's units, by the dissection's own encoder, see `alike_of`."""
    return alike_of(dissection.record(layer), dissection.summary(layer), dissection.image_embeddings().float())


def alike_of(record: LayerRecord, summary: str, images: Float[Tensor, "images dim"]) -> Alike:
    """The MS scores of a layer's units, beside that of a unit which answers to all pictures alike.

    Of a competition a unit answers where it won, whatever the sign.
    """
    said = record.unit_values(summary)
    scores = ms_scores(prediction_targets(said.values, said.won), images)
    known = scores[scores.isfinite()]
    total = torch.nn.functional.normalize(images, dim=1).sum(0).square().sum()
    chance = float((total - len(images)) / (len(images) * (len(images) - 1)))
    if not len(known):
        return Alike(None, None, chance)
    return Alike(float(known.median()), float(known.max()), chance)
