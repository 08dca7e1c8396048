"""Are these pictures like those that the bundled encoder was trained on? It knows painted scenes and nothing else."""

from jaxtyping import Float
from torch import Tensor

from .protocol import ImageTextEncoder

FAMILIAR = 0.55  # median cosine with the nearest centre: painted scenes .64 (.57 for one kind alone), photographs .45


def encoder_warnings(encoder: ImageTextEncoder, image_embeddings: Float[Tensor, "images dim"]) -> list[str]:
    """What to tell of a probe that the encoder does not know; nothing of encoders that know no bounds of their own."""
    if (centres := getattr(encoder, "centres", None)) is None:
        return []
    found = familiarity(image_embeddings, centres)
    if found >= FAMILIAR:
        return []
    return [
        f"the bundled encoder was trained on painted scenes, and these pictures are not like them ({found:.2f}, below "
        f"{FAMILIAR}): its names for them mean nothing. For photographs give --clip ViT-B-32/openai, or another model "
        "of open_clip, and --concepts of your own"
    ]


def familiarity(image_embeddings: Float[Tensor, "images dim"], centres: Float[Tensor, "centres dim"]) -> float:
    """The median over the images of the cosine with the nearest centre."""
    return (image_embeddings.float() @ centres.float().T).amax(1).median().item()
