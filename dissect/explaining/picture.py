"""A picture as a network takes it, and as it was seen: scaled, cropped, in its colours."""

import io
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from competition_layers.transforms import pixel_scale
from pictures import decode

from ..recording.subject import default_transform


def network_input(model: nn.Module, image: str | Path | Image.Image) -> Float[Tensor, "1 channels height width"]:
    """The picture as `model` takes it, on its device.

    Raises:
        FileNotFoundError: no such file. ValueError: it is no readable image; the reason is given.
    """
    if not isinstance(image, Image.Image):
        path = Path(image)
        if not path.is_file():
            raise FileNotFoundError(f"Expected an image file but got {str(image)!r}, which is not there")
        try:
            image = decode(path.read_bytes())
        except OSError as error:
            raise ValueError(f"Expected a readable image but got {str(image)!r}: {error.strerror or error}") from error
    return default_transform(model)(decode(image))[None].to(next(model.parameters()).device)


def as_seen(model: nn.Module, x: Float[Tensor, "channels height width"]) -> bytes:
    """The network's input as a PNG; at full contrast where its mean and standard deviation are not known."""
    scale = pixel_scale(model)
    if scale is not None:
        mean, std = (each.to(x) for each in scale)
        pixels = (x * std + mean).clamp(0, 1)
    else:
        pixels = (x - x.min()) / (x.max() - x.min()).clamp(min=1e-6)
    array = (pixels * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
