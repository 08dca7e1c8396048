"""Which methods describe the units of a layer, and which units all of them describe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..folder.dissection import Dissection
from .controls import Labelling


@dataclass(frozen=True)
class Field:
    """The methods of one layer on the units that all of them describe; `missing`: how many units each does not."""

    layer: str
    units: tuple[int, ...]
    of: int
    methods: tuple[Labelling, ...]
    missing: Mapping[str, int]


def field_of(dissections: Mapping[str, Dissection], layer: str) -> Field:
    """Every method of every dissection of the same network, by the candidates that it proposes, named or not.

    The first candidate of a unit is what it would be called if each had to have a name. A row is called by the method;
    one that two dissections have by the dissection, or by both.
    """
    proposed: dict[tuple[str, str], dict[int, tuple[str, ...]]] = {}
    width = 0
    for name, dissection in dissections.items():
        width = dissection.units(layer)
        for unit in range(width):
            for candidate in dissection.description(layer, unit).candidates:
                said = proposed.setdefault((name, candidate.method), {})
                said[unit] = (*said.get(unit, ()), candidate.description)
    short = _short(list(proposed))
    units = tuple(unit for unit in range(width) if all(unit in said for said in proposed.values()))
    methods = tuple(Labelling(short[method], tuple(said[unit] for unit in units)) for method, said in proposed.items())
    return Field(layer, units, width, methods, {short[m]: width - len(said) for m, said in proposed.items()})


def _short(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What each (dissection, method) is called: the method where no other dissection has it, the dissection where it
    has no other method, else both."""
    counts = [Counter(pair[side] for pair in pairs) for side in (0, 1)]

    def name(dissection: str, method: str) -> str:
        if counts[1][method] == 1:
            return method
        return dissection if counts[0][dissection] == 1 else f"{dissection}: {method}"

    short = {pair: name(*pair) for pair in pairs}
    return short if len(set(short.values())) == len(pairs) else {pair: ": ".join(pair) for pair in pairs}
