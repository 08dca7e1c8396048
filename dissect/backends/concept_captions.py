"""Captions without a captioner: the concepts nearest to a picture in the encoder's space.

The ablation "CLIP captioning" of Describe-and-Dissect, with a few concepts instead of one.
"""

from collections.abc import Sequence
from functools import cached_property

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..encoders.concepts import ConceptSet
from ..encoders.pictures import encode_pictures
from ..encoders.protocol import PixelEncoder
from ..naming.synonyms import distinct_names

NEAREST = 3  # concepts in a caption
_LOOKED_AT = 12


class ConceptCaptioner:
    """Captions such as "red boat, beach, water": the nearest distinct concepts, nearest first."""

    def __init__(self, encoder: PixelEncoder, concepts: ConceptSet) -> None:
        self.encoder, self.concepts = encoder, concepts
        self.identity = f"nearest {NEAREST} concepts {encoder.identity} {concepts.fingerprint}"

    @cached_property
    def _phrases(self) -> Float[Tensor, "concepts dim"]:
        return self.encoder.encode_texts(self.concepts)

    def caption(self, pictures: Sequence[Image.Image]) -> list[str]:
        said: list[str] = []
        if not pictures:
            return said
        scores = encode_pictures(self.encoder, pictures) @ self._phrases.T
        best = scores.topk(min(_LOOKED_AT, len(self.concepts)), dim=1).indices
        kept = distinct_names(best, self.concepts.names, self._phrases, keep=NEAREST)
        for row, ranks in zip(best.tolist(), kept, strict=True):
            said.append(", ".join(self.concepts.names[row[rank]] for rank in ranks))
        return said
