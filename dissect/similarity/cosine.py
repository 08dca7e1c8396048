"""Cosine similarities of a unit's activations with a concept's column of P."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import chunks, has_support, zero_losers

_TINY = 1e-12  # below this a length counts as none


def cosine(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
) -> Float[Tensor, "units concepts"]:
    """<q, P_m> / (|q| |P_m|), not centred (CLIP-Dissect, sec. 3).

    From embeddings: q.P_m = (A'I) t_m, and |P_m| from the Gram matrix I'I, so P itself is never formed. `prior` is
    not used.
    """
    q, wide, t = zero_losers(activations, won), images.float(), concepts.float()
    lengths = sum(part.square().sum(0) for part in q.split(1024)).sqrt()  # `norm` over axis 0 takes three times as long
    seen = (q.T @ wide).div_(lengths.clamp(min=_TINY)[:, None])
    seen[~has_support(activations, won)] = 0.0
    return seen @ (t / _lengths(wide, t)[:, None]).T


def cosine_cubed(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
    min_norm: float = 1e-3,
) -> Float[Tensor, "units concepts"]:
    """<q', P'_m> / (max(|q'|, 1e-3) max(|P'_m|, 1e-3)), with q' = (q - mean q)^3 and P'_m = (P_m - mean P_m)^3.

    CLIP-Dissect's code and Label-free CBM. Below some 1000 images the floor `min_norm` shrinks the scores. `prior` is
    not used.
    """
    q = zero_losers(activations, won)
    q = (q - q.mean(0)).pow_(3)
    q.div_(q.norm(dim=0).clamp(min=min_norm))
    q[:, ~has_support(activations, won)] = 0.0
    centred = images.float() - images.float().mean(0)  # then the columns of P are centred too
    scores = q.new_empty(q.shape[1], len(concepts))
    for where, chunk in chunks(concepts, rows=len(images)):
        p = (centred @ chunk.T).pow_(3)
        scores[:, where] = q.T @ p.div_(p.norm(dim=0).clamp(min=min_norm))
    return scores


def _lengths(images: Float[Tensor, "images dim"], concepts: Float[Tensor, "concepts dim"]) -> Float[Tensor, "concepts"]:
    """|P_m| of every concept: by whichever of the two ways takes fewer products.

    |P_m| = |R t_m| for R'R = I'I; the root R (in fp64) keeps the lengths exact where t'(I'I)t would cancel.
    """
    n, dim = images.shape
    if dim * (n + len(concepts)) < n * len(concepts):
        values, vectors = torch.linalg.eigh((images.T @ images).double())
        images = (vectors * values.clamp(min=0).sqrt()).T.float()
    found = [(images @ chunk.T).norm(dim=0) for _, chunk in chunks(concepts, rows=len(images))]
    return torch.cat(found).clamp(min=_TINY)
