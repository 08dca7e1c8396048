"""Names that say the same: they are one name, and no rival of one another."""

import re
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NEAR_SYNONYM = 0.95  # cosine of the phrases' embeddings under the encoder at hand


def distinct_names(
    ranked: Int[Tensor, "units ranks"],
    names: Sequence[str],
    embeddings: Float[Tensor, "concepts dim"],
    *,
    keep: int,
    threshold: float = NEAR_SYNONYM,
) -> list[list[int]]:
    """Of each unit's concepts, best first, the ranks of the first `keep` that are no near-synonym of a better one.

    Near-synonyms are phrases whose embeddings have a cosine above `threshold`, or that differ by an article, a plural,
    capitals or hyphens alone.
    """
    plain = [plain_form(name) for name in names]
    kept_all = []
    for some in ranked.split(256):
        vectors = embeddings[some].float()
        close = (torch.einsum("urd,usd->urs", vectors, vectors) > threshold).tolist()
        for row, near in zip(some.tolist(), close, strict=True):
            kept: list[int] = []
            for i, concept in enumerate(row):
                if len(kept) == keep:
                    break
                if not any(near[i][j] or plain[concept] == plain[row[j]] for j in kept):
                    kept.append(i)
            kept_all.append(kept)
    return kept_all


def same_names(
    one: Int[Tensor, "units"],
    other: Int[Tensor, "units"],
    names: Sequence[str],
    embeddings: Float[Tensor, "concepts dim"],
) -> Bool[Tensor, "units"]:
    """Which pairs of concepts are near-synonyms, by the same rule."""
    close = (embeddings[one].float() * embeddings[other].float()).sum(1) > NEAR_SYNONYM
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    plain = [plain_form(names[a]) == plain_form(names[b]) for a, b in pairs]
    return close | torch.tensor(plain, dtype=torch.bool, device=close.device)


def plain_form(name: str) -> str:
    """A phrase without article, plural of its last word, capitals, hyphens.

    >>> [plain_form(name) for name in ("The Boats", "boat", "a glass", "cherries", "bus-stop")]
    ['boat', 'boat', 'glass', 'cherry', 'bus stop']
    """
    name = re.sub(r"[\s_-]+", " ", name.lower()).strip()
    name = re.sub(r"^(a|an|the) (?=.)", "", name)
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("shes", "sh"), ("ches", "ch"), ("s", "")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            return name if ending == "s" and name[-2] in "sui" else name[: -len(ending)] + singular
    return name
