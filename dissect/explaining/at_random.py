"""How the same network fared with random weights: what pictures, words and architecture give by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..comparing.monosemanticity import measure_alike
from ..folder.dissection import Dissection
from ..folder.layout import Layout

MOST = 0.95  # of its units agree less with their best word than `AtRandom.high`


@dataclass(frozen=True)
class AtRandom:
    """One layer with random weights, recorded on the same pictures and named by the same rules."""

    units: int
    named: int
    agreements: tuple[float, ...]  # r of its units' best words, rising; units that speak too seldom have none
    alike: float | None  # the MS score of its median unit

    @property
    def high(self) -> float:
        """19 of 20 of its units agree less than this with their best word; one that speaks too seldom counts as 0."""
        silent = [0.0] * (self.units - len(self.agreements))
        return sorted((*silent, *self.agreements))[int(MOST * (self.units - 1))]


def at_random(dissection: Dissection) -> Mapping[str, AtRandom]:
    """By layer, where `describe_beside` has looked; else nothing."""
    if not Layout(dissection.layout.beside_random).is_finished:
        return {}
    random = Dissection.open(dissection.layout.beside_random)
    found = {}
    for layer in (layer for layer in dissection.layers if layer in random.layers):
        units = [random.description(layer, unit) for unit in range(random.units(layer))]
        found[layer] = AtRandom(
            units=len(units),
            named=sum(unit.named for unit in units),
            agreements=tuple(sorted(unit.evidence.predictability for unit in units if unit.evidence)),
            alike=measure_alike(random, layer).median,
        )
    return found
