"""Any pictures, made or cut out, as unit vectors: batch by batch."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .protocol import PixelEncoder

BATCH = 64


def encode_pictures(encoder: PixelEncoder, pictures: Sequence[Image.Image]) -> Float[Tensor, "pictures dim"]:
    """The encoder's vectors of at least one picture."""
    parts = [pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH)]
    return torch.cat([encoder.encode_batch(torch.stack([encoder.preprocess(p) for p in part])) for part in parts])
