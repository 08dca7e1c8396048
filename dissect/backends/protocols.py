"""What a describer may ask of other models. Whatever comes back is text or a picture: data, never an instruction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Request:
    """One question about some texts, for any kind of language model.

    A model that reads prompts gets the instruction, the `examples` (texts and the right answer) and the texts; word
    statistics count in the texts alone.
    """

    instruction: str
    texts: tuple[str, ...]
    examples: tuple[tuple[tuple[str, ...], str], ...] = ()


def parallel(backend: object) -> int:
    """How many questions a backend takes at a time: its `parallel`, which endpoints have; 1 of models in this process,
    which are asked from one thread."""
    return int(getattr(backend, "parallel", 1))


class Captioner(Protocol):
    """Says what pictures show. `identity` changes whenever the captions would."""

    @property
    def identity(self) -> str: ...

    def caption(self, pictures: Sequence[Image.Image]) -> list[str]: ...


@runtime_checkable
class CaptionLikelihood(Protocol):
    """How likely a captioner says phrases of pictures: natural log-probabilities, summed over tokens and the end."""

    @property
    def identity(self) -> str: ...

    def log_likelihoods(
        self, pictures: Sequence[Image.Image], phrases: Sequence[str]
    ) -> Float[Tensor, "pictures phrases"]: ...


class LanguageModel(Protocol):
    """Answers a request; another `draw` may give another answer."""

    @property
    def identity(self) -> str: ...

    def answer(self, request: Request, *, temperature: float = 0.0, draw: int = 0) -> str: ...


class TextToImage(Protocol):
    """Makes, or finds, pictures of what a phrase says; fewer than asked for, or none, where it cannot."""

    @property
    def identity(self) -> str: ...

    def draw(self, phrase: str, count: int) -> list[Image.Image]: ...


class LanguagePrior(Protocol):
    """How likely phrases are, whatever is seen: natural log-probabilities, summed over their tokens."""

    @property
    def identity(self) -> str: ...

    def log_probabilities(self, phrases: Sequence[str]) -> Float[Tensor, "phrases"]: ...
