"""Names of units that stand for one thing each, as those of a classifier do: every unit gets one of its own."""

from jaxtyping import Float, Int
from torch import Tensor

from ..naming.permutation_test import standardised
from ..similarity.claims import SHARPNESS, demand, log_claims
from ..similarity.support import has_support

ROUNDS = 3  # of sharing out (Sinkhorn 1967): further ones change no name


def own_names(
    targets: Float[Tensor, "images units"],
    image_embeddings: Float[Tensor, "images dim"],
    concept_embeddings: Float[Tensor, "concepts dim"],
) -> Int[Tensor, "units"]:
    """For each unit the concept that fits it best, once the units have shared the names out among themselves.

        z = (claim + r) / 2, both standardised over the concepts;  r the correlation with the concept's score
        score = log softmax(2.5 z) less what all units claim of each name, three rounds (`similarity.claims`)

    Correlation alone prefers a broader word ("dog") for tens of units; a claim alone is a worse predictor.
    """
    scores = image_embeddings.double() @ concept_embeddings.double().T
    r = standardised(targets).T @ standardised(scores)
    fits = _standard(log_claims(targets, image_embeddings, concept_embeddings)) + _standard(r.float())
    logs = (SHARPNESS * fits / 2).log_softmax(1)
    return (logs - demand(logs, has_support(targets, None), rounds=ROUNDS)).argmax(1)


def _standard(scores: Float[Tensor, "units concepts"]) -> Float[Tensor, "units concepts"]:
    centred = scores - scores.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
