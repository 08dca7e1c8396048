"""What describers are made with: the user's choices, and the models that some of them ask."""

from dataclasses import dataclass, field

from ..backends.loading import Backends
from ..backends.protocols import TextToImage
from .concept_matching import Naming


@dataclass(frozen=True)
class Tools:
    """Handed to every describer's line in `DESCRIBERS`; each takes what it needs."""

    naming: Naming = field(default_factory=Naming)
    backends: Backends | None = None
    scoring: str = "topk-compare"  # of Describe-and-Dissect

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
