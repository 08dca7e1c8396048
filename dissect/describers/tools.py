"""What describers are made with: the user's choices, and the models that some of them ask."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..backends.loading import Backends
from ..backends.protocols import Captioner, CaptionLikelihood, LanguageModel, LanguagePrior, TextToImage
from ..backends.word_statistics import WordStatistics
from ..milan.backbone import Backbone, bundled_backbone
from ..milan.prior import TaughtPrior
from ..milan.saving import MilanModel, load_milan
from .naming import Naming


@dataclass(frozen=True)
class Tools:
    """Handed to the function that makes a describer (`DESCRIBERS`); each takes what it needs."""

    naming: Naming = field(default_factory=Naming)
    backends: Backends | None = None
    scoring: str = "topk-compare"  # of Describe-and-Dissect
    domain: str = ""  # of the vocabulary that `patches` asks for; "": the concepts
    milan: str | Path | None = None  # the folder of a trained model
    backbone: Callable[[], Backbone] | None = None  # of MILAN; None is the bundled one

    def taught(self) -> tuple[MilanModel, Backbone]:
        """MILAN's model and its backbone.

        Raises:
            ValueError: none was named. FileNotFoundError: it is not there.
        """
        if self.milan is None:
            raise ValueError("Expected --milan FOLDER, which `lwta describe-train milan --out FOLDER` writes")
        return load_milan(self.milan), self.backbone() if self.backbone else bundled_backbone()

    def likelihoods(self) -> tuple[Captioner, CaptionLikelihood, LanguagePrior | None]:
        """What MILAN without training asks; the prior of a trained one (`milan`) where no language model is named."""
        captioner, likelihood, prior = self.models.of_likelihoods()
        if prior is None and self.milan is not None:
            prior = TaughtPrior(load_milan(self.milan))
        return captioner, likelihood, prior

    def asked_for_phrases(self) -> LanguageModel | None:
        """The language model that lists the phrases of a domain; None where the concepts are the vocabulary.

        Raises:
            ValueError: a domain, and nothing but word counting.
        """
        if not self.domain:
            return None
        model = self.models.load_language_model()
        if isinstance(model, WordStatistics):
            raise ValueError(
                f"Expected --language_model for the phrases of the domain {self.domain!r}: counting words makes none; "
                "leave --domain out to match the concepts"
            )
        return model

    @property
    def pictures(self) -> TextToImage | None:
        """What makes pictures of phrases, where it was named."""
        if self.backends is None or not self.backends.text_to_image:
            return None
        return self.backends.load_text_to_image()

    @property
    def models(self) -> Backends:
        """The models to ask.

        Raises:
            ValueError: none were given.
        """
        if self.backends is None:
            raise ValueError("Expected backends for a describer that asks other models: Tools(backends=Backends(...))")
        return self.backends
