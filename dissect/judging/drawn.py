"""What units say on pictures that are made of labels: drawn, found, or painted, as CoSy asks (Kopf et al. 2024)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from ..backends.protocols import TextToImage
from ..naming.predictability import prediction_targets, worth_of_losing
from ..recording.layer_reader import LayerReader
from ..recording.unit_values import UnitValues

PICTURES = 10  # of a label


@dataclass
class DrawnPictures:
    """Pictures of labels, made once for all layers, and a layer's answers to them, once for all controls."""

    maker: TextToImage
    reader: Callable[[str], LayerReader]
    probed: Callable[[str], UnitValues]  # what the layer said on the probe: its losses count there as here
    _answers: dict[str, dict[str, Tensor | None]] = field(default_factory=dict)

    def answers(self, layer: str, labels: Iterable[str]) -> dict[str, Float[Tensor, "pictures units"]]:
        """What all units of the layer say on each label's pictures; a label of which nothing is made is missing."""
        known = self._answers.setdefault(layer, {})
        fresh = [label for label in dict.fromkeys(labels) if label not in known]
        made = {label: self.maker.draw(label, PICTURES) for label in fresh}
        pictures = [picture for some in made.values() for picture in some]
        if pictures:
            said, before = self.reader(layer).values(pictures), self.probed(layer)
            lost = None if before.won is None else worth_of_losing(before.values, before.won)
            parts = prediction_targets(said.values, said.won, lost=lost).split([len(some) for some in made.values()])
            known |= {label: part if len(part) else None for label, part in zip(made, parts, strict=True)}
        else:
            known |= dict.fromkeys(fresh)
        return {label: found for label in labels if (found := known[label]) is not None}
