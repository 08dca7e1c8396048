"""How well the units of a layer agree with their best words, drawn beside the same network with random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..explaining.at_random import AtRandom
from ..explaining.unit_entries import UnitEntry

LOW, BINS = -0.2, 30  # r from here to 1


@dataclass(frozen=True)
class Agreements:
    """One layer's histogram of r as an SVG path in a box of one by one a bin, and that at random weights as a line."""

    layer: str
    units: int
    named: int
    path: str
    random: AtRandom | None
    random_path: str = ""
    bins: int = BINS
    low: float = LOW


def agreements_of(entries: Sequence[UnitEntry], at_random: Mapping[str, AtRandom]) -> list[Agreements]:
    """Of each layer with units that have a best word, in order."""
    layers: dict[str, list[UnitEntry]] = {}
    for entry in entries:
        layers.setdefault(entry.description.layer, []).append(entry)
    return [_of_layer(layer, found, at_random.get(layer)) for layer, found in layers.items()]


def _of_layer(layer: str, entries: Sequence[UnitEntry], random: AtRandom | None) -> Agreements:
    known = [entry.description.evidence for entry in entries]
    shares = _shares([evidence.predictability for evidence in known if evidence], len(entries))
    others = _shares(random.agreements, random.units) if random else [0.0]
    highest = max(*shares, *others) or 1.0
    bars = "".join(f"M{i} 1v{-share / highest:.3f}h.85V1z" for i, share in enumerate(shares) if share)
    steps = "M0 1" + "".join(f"V{1 - share / highest:.3f}h1" for share in others) + "V1"
    named = sum(entry.description.named for entry in entries)
    return Agreements(layer, len(entries), named, bars, random, steps if random else "")


def _shares(values: Sequence[float], units: int) -> list[float]:
    """Which share of all units lies in each bin."""
    counts = [0.0] * BINS
    for value in values:
        counts[min(max(int((value - LOW) / (1 - LOW) * BINS), 0), BINS - 1)] += 1 / units
    return counts
