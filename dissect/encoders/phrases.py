"""Phrases that stand in no list: what a describer found, in the encoder's space."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from ..naming.space import Space
from .concepts import ConceptSet
from .precomputed import PrecomputedEncoder
from .protocol import ImageTextEncoder


def with_phrases(space: Space, phrases: Iterable[str], encoder: ImageTextEncoder, concepts: ConceptSet) -> Space:
    """`space` and, after its own names, the `phrases` that the encoder reads, with the prompts of `concepts`.

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
