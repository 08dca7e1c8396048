"""What the user says about names."""

from dataclasses import dataclass
from pathlib import Path

from competition_layers.names import nearest

from ..naming.verifying import LEAST_R
from ..similarity import DEFAULT_SIMILARITY, SIMILARITIES


@dataclass(frozen=True)
class Naming:
    """The similarity that chooses names, the least r at which one is written, and which pictures belong together
    (`folder`, `prefix` or a CSV file: `blocks_by`)."""

    similarity: str = DEFAULT_SIMILARITY
    least_r: float = LEAST_R
    blocks: str | Path | None = None

    def __post_init__(self) -> None:
        if self.similarity not in SIMILARITIES:
            known = ", ".join(SIMILARITIES)
            offered = nearest(self.similarity, SIMILARITIES)
            raise ValueError(f"Expected a similarity among {known} but got {self.similarity!r}{offered}")
        if not 0 <= self.least_r < 1:
            raise ValueError(f"Expected least_r, a correlation, from 0 to below 1 but got {self.least_r}")
