"""Cosine similarities of a unit's activations with a concept's column of P."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .support import chunks, supported, winning


def cosine(
    activations: Float[Tensor, "images units"],
    images: Float[Tensor, "images dim"],
    concepts: Float[Tensor, "concepts dim"],
    *,
    won: Bool[Tensor, "images units"] | None = None,
    prior: Float[Tensor, "concepts"] | None = None,
) -> Float[Tensor, "units concepts"]:
    """<q, P_m> / (|q| |P_m|), not centred (CLIP-Dissect, sec. 3).

    From embeddings: q.P_m = (A'I) t_m and |P_m|^2 = t_m'(I'I) t_m, so P itself is never formed. `prior` is not used.
    """
    wide = images.double()
    q, t = winning(activations, won).double(), concepts.double()
    dots = (q.T @ wide) @ t.T
    lengths = ((t @ (wide.T @ wide)) * t).sum(1).clamp(min=0).sqrt()
    scores = dots / (q.norm(dim=0)[:, None] * lengths).clamp(min=1e-12)
    return scores.where(supported(activations, won)[:, None], 0.0).float()


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
    q = winning(activations, won)
    q = (q - q.mean(0)) ** 3
    q = q / q.norm(dim=0).clamp(min=min_norm)
    scores = []
    for _, chunk in chunks(concepts, rows=len(images)):
        p = images.float() @ chunk.T
        p = (p - p.mean(0)) ** 3
        scores.append(q.T @ (p / p.norm(dim=0).clamp(min=min_norm)))
    return torch.cat(scores, 1).where(supported(activations, won)[:, None], 0.0)
