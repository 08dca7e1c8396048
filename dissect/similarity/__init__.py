"""Every similarity between what a unit does and what a concept means: one signature, higher is better.

    similarity(activations (images x units), images (images x dim), concepts (concepts x dim),
               *, won=None (images x units), prior=None (concepts), ...) -> units x concepts

`images` and `concepts` are unit-norm embeddings; the papers' matrix P = images @ concepts.T (a known P goes in as
`images=P, concepts=eye`) is never stored whole. With `won`, a unit is judged by the images that it won. A unit
without support (nothing won, or the same value everywhere) gets a row of zeros. The published constants are the
defaults (CLIP-Dissect, Oikarinen & Weng 2023, and its code 21e7697); `claims`, the default, is ours.
"""

from collections.abc import Callable
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from .claims import claims, claims_and_prior
from .cosine import cosine, cosine_cubed
from .ranks import rank_reorder
from .shannon import jensen_shannon
from .wpmi import HARD, SOFT, soft_wpmi, wpmi, wpmi_and_prior

SIMILARITIES: dict[str, Callable[..., Tensor]] = {
    "claims": claims,
    "cosine": cosine,
    "cosine_cubed": cosine_cubed,
    "jensen_shannon": jensen_shannon,
    "rank_reorder": rank_reorder,
    "soft_wpmi": soft_wpmi,
    "wpmi": wpmi,
}
DEFAULT_SIMILARITY = "claims"
WITH_PRIOR: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {  # the scores, and what is handed in as `prior`
    "claims": claims_and_prior,
    "soft_wpmi": partial(wpmi_and_prior, constants=SOFT),
    "wpmi": partial(wpmi_and_prior, constants=HARD),
}


def scores_and_prior(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    similarity: str,
    won: Bool[Tensor, "images units"] | None = None,
) -> tuple[Float[Tensor, "units concepts"], Float[Tensor, "concepts"] | None]:
    """The scores of a whole layer and, from the same pass, the `prior` that some of its units are scored with later.

    It is `None` for a similarity that looks at each unit alone.
    """
    if similarity in WITH_PRIOR:
        return WITH_PRIOR[similarity](activations, images, concepts, won=won)
    return SIMILARITIES[similarity](activations, images, concepts, won=won), None
