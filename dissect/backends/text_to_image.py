"""Pictures of what a phrase says: painted, found among held-out pictures, or made by a diffusion model."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from pictures.scenes.phrases import paint_phrase

from ..encoders.concepts import ConceptSet
from ..encoders.protocol import ImageTextEncoder
from ..fingerprints import digest, sampled_fingerprint
from ..optional import needed
from ..probe.probe_images import ProbeImages

PROMPT = "One realistic image of {}"  # Describe-and-Dissect's


@dataclass(frozen=True)
class Painter:
    """The painter of the scenes; it draws nothing for phrases of which it knows no word."""

    size: int = 64

    @property
    def identity(self) -> str:
        return f"painter {self.size}"

    def draw(self, phrase: str, count: int) -> list[Image.Image]:
        return list(_painted(phrase, count, self.size))


@lru_cache(maxsize=256)  # units share labels; 120 kB each
def _painted(phrase: str, count: int, size: int) -> tuple[Image.Image, ...]:
    return tuple(paint_phrase(phrase, count, size=size))


@dataclass(frozen=True)
class Retrieval:
    """The held-out pictures nearest to the phrase in the encoder's space: real ones, that chose no name."""

    pictures: ProbeImages
    encoder: ImageTextEncoder

    @property
    def identity(self) -> str:
        return f"retrieval {self.pictures.fingerprint} {self.encoder.identity}"

    @cached_property
    def _embeddings(self) -> Float[Tensor, "images dim"]:
        return self.encoder.encode_images(self.pictures)

    def draw(self, phrase: str, count: int) -> list[Image.Image]:
        try:
            query = self.encoder.encode_texts(ConceptSet((phrase,), source="a describer"))[0]
        except ValueError:  # words that the encoder does not read
            return []
        best = (self._embeddings @ query).topk(min(count, len(self.pictures))).indices
        return [self.pictures[i] for i in best.tolist()]


class Diffusion:
    """Any text-to-image pipeline of diffusers, by name or folder; steps and guidance are the pipeline's own."""

    def __init__(self, name: str, *, device: torch.device | str = "cpu") -> None:
        library = needed("diffusers", "diffusion")
        try:
            self.pipeline = library.AutoPipelineForText2Image.from_pretrained(name, use_safetensors=True).to(device)
        except (OSError, ValueError) as error:
            said = str(error).strip().partition("\n")[0]
            raise FileNotFoundError(f"Expected a pipeline of diffusers but got {name!r}: {said}") from error
        self.pipeline.set_progress_bar_config(disable=True)
        parts = [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        self.identity = f"diffusers {name} {digest(str(self.pipeline.config), sampled_fingerprint(parts), PROMPT)}"

    def draw(self, phrase: str, count: int) -> list[Image.Image]:
        """Seeds 0 to count - 1, whatever was drawn before; what a safety checker blackens is left out."""
        prompt = PROMPT.format(phrase)
        made = [self.pipeline(prompt, generator=torch.Generator().manual_seed(seed)) for seed in range(count)]
        return [one.images[0] for one in made if not any(getattr(one, "nsfw_content_detected", None) or ())]
