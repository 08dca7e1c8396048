"""The probe images and the concepts in one encoder's space: what every name is chosen from and judged by."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Space:
    """Unit vectors of the probe images and of the concepts, and the concepts' phrases."""

    image_embeddings: Float[Tensor, "images dim"]
    concept_embeddings: Float[Tensor, "concepts dim"]
    names: tuple[str, ...]
