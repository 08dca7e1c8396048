"""The probe images and the concepts in one encoder's space: what every name is chosen from and judged by."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .concepts import ConceptSet
from .precomputed import PrecomputedEncoder
from .protocol import ImageTextEncoder


@dataclass(frozen=True)
class Space:
    """Unit vectors of the probe images and of the concepts, and the concepts' phrases."""

    image_embeddings: Float[Tensor, "images dim"]
    concept_embeddings: Float[Tensor, "concepts dim"]
    names: tuple[str, ...]


def with_phrases(space: Space, phrases: Iterable[str], encoder: ImageTextEncoder, concepts: ConceptSet) -> Space:
    """`space` and, after its own names, `phrases` of no list that the encoder reads, with the prompts of `concepts`.

    Embeddings computed elsewhere hold no other phrases: then it stays as it is.
    """
    known = set(space.names)
    fresh = tuple(phrase for phrase in dict.fromkeys(phrases) if phrase not in known)
    if not fresh or isinstance(encoder, PrecomputedEncoder):
        return space
    try:
        read, _ = encoder.known(replace(concepts, names=fresh, source="", lines=fresh))
    except ValueError:  # it reads none of them
        return space
    found = encoder.encode_texts(read).to(space.concept_embeddings)
    return replace(
        space, names=(*space.names, *read.names), concept_embeddings=torch.cat([space.concept_embeddings, found])
    )
