"""Backends by their names on the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch

from ..encoders.concepts import ConceptSet
from ..encoders.protocol import ImageTextEncoder, PixelEncoder
from ..probe.probe_images import ProbeImages
from .answers import AnswerStore, RememberedCaptioner, RememberedModel, RememberedPictures
from .bundled_captioner import BundledCaptioner
from .concept_captions import ConceptCaptioner
from .endpoint import ChatEndpoint
from .protocols import Captioner, CaptionLikelihood, LanguageModel, LanguagePrior, TextToImage
from .text_to_image import Diffusion, Painter, Retrieval
from .transformers_models import TransformersCaptioner, TransformersLanguageModel
from .word_statistics import WordStatistics


@dataclass(frozen=True)
class Backends:
    """Which models describers ask; they are loaded when one is asked for, and remember their answers in `store`.

    Args:
        captioner: `bundled` (of the scenes), `concepts` (the nearest ones of the list), URL#MODEL of an endpoint, or a
            transformers model.
        language_model: `words` (counting, no model), URL#MODEL, a transformers model or a .gguf file.
        text_to_image: `painter` (of the scenes), a source of held-out pictures as `found:SOURCE`, or a diffusers model.
        open_pictures: opens SOURCE.
    """

    captioner: str
    language_model: str
    text_to_image: str
    store: AnswerStore
    encoder: ImageTextEncoder
    concepts: ConceptSet
    open_pictures: Callable[[str], ProbeImages]
    device: torch.device | str = "cpu"

    def of_labels(self) -> tuple[Captioner, LanguageModel, TextToImage]:
        """What Describe-and-Dissect asks."""
        return self.load_captioner(), self.load_language_model(), self.load_text_to_image()

    def of_likelihoods(self) -> tuple[Captioner, CaptionLikelihood, LanguagePrior | None]:
        """What MILAN without training asks.

        Raises:
            ValueError: a captioner that only speaks, or a language model that does.
        """
        captioner = self._captioner()
        if not isinstance(captioner, CaptionLikelihood):
            raise ValueError(
                "Expected a captioner for milan-free that says how likely a phrase is, bundled (scenes) or a "
                f"transformers model, but got --captioner {self.captioner}"
            )
        if self.language_model == "words":
            return RememberedCaptioner(captioner, self.store), captioner, None
        if endpoint_of(self.language_model):
            raise ValueError(
                "Expected a language model for milan-free that says how likely a phrase is, a transformers model, or "
                f"words for none, but got --language_model {self.language_model}"
            )
        return (
            RememberedCaptioner(captioner, self.store),
            captioner,
            TransformersLanguageModel(self.language_model, device=self.device),
        )

    def load_captioner(self) -> Captioner:
        """The captioner.

        Raises:
            ValueError: `concepts` with an encoder that sees no pixels. FileNotFoundError: no such model.
        """
        return RememberedCaptioner(self._captioner(), self.store)

    def _captioner(self) -> Captioner:
        name = self.captioner
        if name == "bundled":
            return BundledCaptioner()
        if name != "concepts":
            return endpoint_of(name) or TransformersCaptioner(name, device=self.device)
        if not isinstance(self.encoder, PixelEncoder):
            raise ValueError(
                "Expected --captioner, since precomputed embeddings caption no crops: a transformers model or URL#MODEL"
            )
        return ConceptCaptioner(self.encoder, self.concepts)

    def load_language_model(self) -> LanguageModel:
        """The language model, or what counts words."""
        name = self.language_model
        if name == "words":
            return WordStatistics()
        found = endpoint_of(name) or TransformersLanguageModel(name, device=self.device)
        return RememberedModel(found, self.store)

    def load_text_to_image(self) -> TextToImage:
        """What makes pictures of phrases."""
        name = self.text_to_image
        if not name:
            raise ValueError(
                "Expected --text_to_image, which makes pictures of labels: painter (scenes only), found:SOURCE of "
                "held-out pictures, or a model of diffusers"
            )
        if name == "painter":
            return Painter()
        if name.startswith("found:"):
            return Retrieval(self.open_pictures(name.removeprefix("found:")), self.encoder)
        return RememberedPictures(Diffusion(name, device=self.device), self.store)


def endpoint_of(name: str) -> ChatEndpoint | None:
    """The endpoint that `URL#MODEL` names; None of other names.

    Raises:
        ValueError: a URL without a model.
    """
    parts = urlsplit(name)
    if parts.scheme not in ("http", "https") or Path(name).exists():
        return None
    if not parts.fragment or parts.username or parts.password:
        raise ValueError(f"Expected an endpoint as URL#MODEL, without a key in it, but got {name!r}")
    return ChatEndpoint(name.partition("#")[0], parts.fragment)
