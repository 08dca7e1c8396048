"""MILAN without training: a captioner's likelihood in the place of p(d | E), a language model's in that of p(d).

score(d) = (mean over exemplars of log p(d | exemplar) - .2 log p(d)) / (words of d + 1)

The objective is MILAN's (Hernandez et al. 2022, eq. 3). That a captioner may stand for the taught decoder, that a score
is counted a word (a captioner's likelihood falls with every word, an exemplar set's information does not), and the
candidates (what captions of the exemplars' regions share) are ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..backends.protocols import Captioner, CaptionLikelihood, LanguagePrior
from ..backends.word_statistics import phrases_of
from ..exemplars.regions import crops
from ..milan.beam import WEIGHT
from ..naming.description import Candidate
from .describer import Described, Probed, Proposals
from .patches import region_boxes
from .tools import Tools

METHOD = "milan-free"
CANDIDATES = 5
TRIED = 30  # phrases a unit, the most shared first
BLANK = (128, 128, 128)


@dataclass(frozen=True)
class MilanFree:
    """The describer; where no `prior` is given, p(d) is what the captioner says of a blank picture."""

    captioner: Captioner
    likelihood: CaptionLikelihood
    prior: LanguagePrior | None = None
    method: str = METHOD

    @property
    def options(self) -> Mapping[str, Any]:
        prior = self.prior.identity if self.prior else "a blank picture"
        return {"asked": [self.captioner.identity, self.likelihood.identity, prior], "counts": [TRIED, WEIGHT]}

    def propose(self, probed: Probed) -> Proposals:
        """The five best phrases a unit and their weighted mutual information with its exemplars, in nats a word."""
        return probed.unit_by_unit(self, lambda units: (self._of(probed, unit) for unit in units))

    def _of(self, probed: Probed, unit: int) -> Described:
        places = probed.exemplars.places(unit)
        boxes = region_boxes(probed, unit)
        regions = [crops(probed.probe[place], [box])[0] for place, box in zip(places, boxes, strict=True)]
        phrases = shared_phrases(self.captioner.caption(regions))[:TRIED]
        if not phrases:
            return ()
        scores = self._scores(regions, phrases).tolist()
        best = sorted(range(len(phrases)), key=lambda i: -scores[i])[:CANDIDATES]
        return tuple(Candidate(phrases[i], scores[i], self.method) for i in best)

    def _scores(self, regions: Sequence[Image.Image], phrases: Sequence[str]) -> Float[Tensor, "phrases"]:
        likely = self.likelihood.log_likelihoods(regions, phrases).double()
        if self.prior is not None:
            anyway = self.prior.log_probabilities(phrases).double()
        else:
            anyway = self.likelihood.log_likelihoods([Image.new("RGB", regions[0].size, BLANK)], phrases)[0].double()
        words = likely.new_tensor([len(phrase.split()) + 1 for phrase in phrases])
        return (likely.mean(0) - WEIGHT * anyway) / words


def from_tools(tools: Tools) -> MilanFree:
    """The describer, with the models that the user chose."""
    return MilanFree(*tools.likelihoods())


def shared_phrases(captions: Sequence[str]) -> list[str]:
    """The phrases of captions, those that most of them share first.

    >>> shared_phrases(["a red boat on a beach", "a boat", "a beach with a boat"])
    ['boat', 'beach', 'red boat']
    """
    counts = Counter(phrase for caption in captions for phrase in phrases_of(caption))
    return [phrase for phrase, _ in counts.most_common()]
