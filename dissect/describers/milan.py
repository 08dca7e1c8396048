"""MILAN (Hernandez et al. 2022, arXiv 2201.11114): a network that was taught by described units writes descriptions.

d* = argmax over d of log p(d | E) - .2 log p(d), E the masked exemplars of a unit; d is among those that a beam of 50
finds under p(d | E).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..milan.backbone import Backbone
from ..milan.beam import BEAM, WEIGHT, beam_search, rerank
from ..milan.saving import MilanModel
from ..naming.description import Candidate
from .describer import Described, Probed, Proposals
from .tools import Tools

METHOD = "milan"
CANDIDATES = 5


@dataclass(frozen=True)
class Milan:
    """The describer; `model` reads the features of `backbone` (`load_milan`, `bundled_backbone`)."""

    model: MilanModel
    backbone: Backbone
    method: str = METHOD

    def __post_init__(self) -> None:
        if self.backbone.identity != self.model.backbone:
            raise ValueError(
                f"Expected the backbone that MILAN was trained with ({self.model.backbone}) but got "
                f"{self.backbone.identity}; train it again, or name that one (--backbone)"
            )

    @property
    def options(self) -> Mapping[str, Any]:
        return {"model": self.model.fingerprint, "backbone": self.model.backbone, "beam": BEAM, "weight": WEIGHT}

    def propose(self, probed: Probed) -> Proposals:
        """The five best descriptions a unit and their weighted mutual information with its exemplars, in nats."""
        return probed.unit_by_unit(self, lambda units: (self._of(probed, unit) for unit in units))

    def _of(self, probed: Probed, unit: int) -> Described:
        places = probed.exemplars.places(unit)
        pictures = [probed.probe[place] for place in places]
        masks = list(probed.exemplars.masks(unit, (self.backbone.size, self.backbone.size)).float())
        features = self.backbone.features(pictures, masks)
        rows, scores = rerank(self.model.prior, *beam_search(self.model.decoder, features))
        said = zip(map(self.model.words.decode, rows.tolist()), scores.tolist(), strict=True)
        found = {text: score for text, score in reversed(list(said)) if text}  # of equal texts the best
        best = sorted(found, key=lambda text: -found[text])[:CANDIDATES]
        return tuple(Candidate(text, found[text], self.method) for text in best)


def from_tools(tools: Tools) -> Milan:
    """The describer that `lwta describe-train milan` taught."""
    return Milan(*tools.taught())
