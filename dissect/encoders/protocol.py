"""What an encoder is: pictures and phrases as unit vectors in one space."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..probe.probe_images import ProbeImages
from .concepts import ConceptSet


@runtime_checkable
class ImageTextEncoder(Protocol):
    """Pictures and phrases as unit vectors (fp32). `identity` changes whenever the vectors would."""

    @property
    def identity(self) -> str: ...

    def encode_images(self, probe: ProbeImages) -> Float[Tensor, "images dim"]: ...

    def encode_texts(self, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]: ...

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        """The concepts that the encoder can read, and how many others were dropped."""
        ...


@runtime_checkable
class PixelEncoder(ImageTextEncoder, Protocol):
    """An encoder that takes pictures batch by batch, so that it can share a pass with another network."""

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]: ...

    def encode_batch(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images dim"]:
        """Unit vectors of preprocessed pictures, in fp32 on the CPU."""
        ...
