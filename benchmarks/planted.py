"""Units that are a known concept plus noise, at falling signal: are the names right, do intervals and false discoveries
keep their promise?

    python benchmarks/planted.py [--quick]

Images and concepts are random directions, so that the correlation of any unit with any concept in the population is
known: signal * cosine(its concept, the other). At signal 0 a unit is noise and any name is false. Every figure stands
beside its nominal value.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dissect import DEFAULT_SIMILARITY, Description, LayerRecord, Naming, Space, name_verified
from dissect.naming.halves import halve

DIM = 64
SIGNALS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Planted:
    """A layer with its truth: each unit's signal and concept."""

    record: LayerRecord
    space: Space
    signal: Tensor
    own: Tensor


@dataclass(frozen=True)
class Figures:
    """At one signal: units, shares named and rightly named, and how often the interval holds the true correlation."""

    signal: float
    units: int
    named: float
    right: float
    covered: float


def plant(*, images: int, concepts: int, units: int, signals: Sequence[float] = SIGNALS, seed: int = 0) -> Planted:
    """A layer of `units` units at each signal: concept score and noise, both standard normal."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(images, DIM, generator=generator)
    texts = normalize(torch.randn(concepts, DIM, generator=generator), dim=1)
    signal = torch.tensor(signals).repeat_interleave(units)
    own = torch.randint(concepts, (len(signal),), generator=generator)
    noise = torch.randn(images, len(signal), generator=generator)
    values = signal * (pictures @ texts[own].T) + (1 - signal**2).sqrt() * noise
    space = Space(pictures, texts, tuple(f"concept {i}" for i in range(concepts)))
    return Planted(LayerRecord("planted", {"mean": values}), space, signal, own)


def name(planted: Planted, *, similarity: str = DEFAULT_SIMILARITY) -> tuple[Description, ...]:
    """The verified names of the planted units."""
    halves = halve(planted.space.image_embeddings)
    return name_verified(planted.record, "mean", planted.space, halves, Naming(similarity, least_r=0.0))[0]


def count(planted: Planted, described: Sequence[Description]) -> list[Figures]:
    """The figures at each signal."""
    index = {name: i for i, name in enumerate(planted.space.names)}
    judged = torch.tensor([index[unit.candidates[0].description] for unit in described])
    texts = planted.space.concept_embeddings
    true = planted.signal * (texts[planted.own] * texts[judged]).sum(1)
    low, high = (torch.tensor([getattr(unit.evidence, end) for unit in described]) for end in ("low", "high"))
    named = torch.tensor([unit.named for unit in described])
    rows = []
    for signal in planted.signal.unique():
        here = planted.signal == signal
        rows.append(
            Figures(
                signal=float(signal),
                units=int(here.sum()),
                named=float(named[here].float().mean()),
                right=float((named & (judged == planted.own) & (signal > 0))[here].float().mean()),
                covered=float(((low <= true) & (true <= high))[here].float().mean()),
            )
        )
    return rows


def false_discoveries(planted: Planted, described: Sequence[Description]) -> tuple[int, int]:
    """How many names there are, and how many of those stand on units that are noise."""
    named = torch.tensor([unit.named for unit in described])
    return int(named.sum()), int((named & (planted.signal == 0)).sum())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--similarity", default=DEFAULT_SIMILARITY)
    parser.add_argument("--layers", type=int, default=20, help="so many layers, each with its own seed")
    parser.add_argument("--quick", action="store_true", help="two layers")
    options = parser.parse_args(argv)
    sizes = {"images": 2000, "concepts": 300, "units": 50}
    layers = 2 if options.quick else options.layers
    rows: dict[float, list[Figures]] = {}
    names = false = 0
    for seed in range(layers):
        planted = plant(**sizes, seed=seed)
        described = name(planted, similarity=options.similarity)
        for row in count(planted, described):
            rows.setdefault(row.signal, []).append(row)
        found = false_discoveries(planted, described)
        names, false = names + found[0], false + found[1]
    print(f"{layers} layers of {sizes['units']} units a signal, {sizes['images']} images, {options.similarity}")
    print("signal  units  named  right  95 % interval holds the truth")
    for signal, found in rows.items():
        named, right, covered = (
            sum(getattr(row, what) for row in found) / len(found) for what in ("named", "right", "covered")
        )
        print(f"{signal:6.1f}  {sum(row.units for row in found):5}  {named:5.1%}  {right:5.1%}  {covered:5.1%}")
    print(f"false discoveries: {false} of {names} names, {false / max(names, 1):.1%} (at most 5 %)")


if __name__ == "__main__":
    main()
