"""What describers are made with: the user's choices, and the models that some of them need."""

from dataclasses import dataclass, field

from .concept_matching import Naming


@dataclass(frozen=True)
class Tools:
    """Handed to every describer's line in `DESCRIBERS`; each takes what it needs."""

    naming: Naming = field(default_factory=Naming)
