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

from torch import Tensor

from .claims import claims, claims_prior
from .cosine import cosine, cosine_cubed
from .ranks import rank_reorder
from .shannon import jensen_shannon
from .wpmi import scores_and_prior, soft_wpmi, wpmi, wpmi_prior

SIMILARITIES = {
    "claims": claims,
    "cosine": cosine,
    "cosine_cubed": cosine_cubed,
    "jensen_shannon": jensen_shannon,
    "rank_reorder": rank_reorder,
    "soft_wpmi": soft_wpmi,
    "wpmi": wpmi,
}
DEFAULT_SIMILARITY = "claims"
PRIORS: dict[str, Callable[..., Tensor]] = {  # what is found once over a whole layer, and handed in as `prior`
    "claims": claims_prior,
    "soft_wpmi": partial(wpmi_prior, similarity="soft_wpmi"),
    "wpmi": partial(wpmi_prior, similarity="wpmi"),
}

__all__ = [
    "DEFAULT_SIMILARITY",
    "PRIORS",
    "SIMILARITIES",
    "claims",
    "claims_prior",
    "cosine",
    "cosine_cubed",
    "jensen_shannon",
    "rank_reorder",
    "scores_and_prior",
    "soft_wpmi",
    "wpmi",
    "wpmi_prior",
]
