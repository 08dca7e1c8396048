"""What labels must beat: one label for all units, another unit's, drawn at random, the best of several."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .bench import Labels

DRAWS = 5  # shuffles, and random labellings, that are averaged
Score = Callable[[Labels], Float[Tensor, "units"]]


@dataclass(frozen=True)
class Labelling:
    """What one method says of the judged units: labels, best first; for unit i `labels[i]`, at least one."""

    method: str
    labels: tuple[tuple[str, ...], ...]

    @property
    def first(self) -> tuple[str, ...]:
        return tuple(labels[0] for labels in self.labels)

    def ranked(self, rank: int) -> tuple[str, ...]:
        """The labels of one rank; where a unit has fewer, its last one."""
        return tuple(labels[min(rank, len(labels) - 1)] for labels in self.labels)

    @property
    def most(self) -> int:
        return max(map(len, self.labels))


def controlled(
    labelling: Labelling, vocabulary: Sequence[str], score: Score, *, seed: int = 0
) -> dict[str, Float[Tensor, "units"]]:
    """The scores of a method's first labels, and of what they must beat, a number a unit.

    * `constant`: its most frequent label, for every unit
    * `shuffled`: the units' labels exchanged at random, mean of 5
    * `random`: labels drawn from the vocabulary, mean of 5
    * `best of k`: of each unit's k labels the one that scores best, beside `best of k random`: that of k random ones.
      The best of several rises by itself, whatever they say.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(labelling.labels)

    def random() -> Float[Tensor, "units"]:
        return score([vocabulary[i] for i in torch.randint(len(vocabulary), (count,), generator=generator).tolist()])

    def shuffled() -> Float[Tensor, "units"]:
        return score([labelling.first[i] for i in torch.randperm(count, generator=generator).tolist()])

    (usual, _), *_ = Counter(labelling.first).most_common(1)
    k = labelling.most
    draws = [random() for _ in range(max(DRAWS, k))]
    own = score(labelling.first)
    found = {
        "": own,
        "constant": score([usual] * count),
        "shuffled": torch.stack([shuffled() for _ in range(DRAWS)]).nanmean(0),
        "random": torch.stack(draws).nanmean(0),
    }
    if k > 1:
        found[f"best of {k}"] = _best([own, *(score(labelling.ranked(rank)) for rank in range(1, k))])
        found[f"best of {k} random"] = _best(draws[:k])
    return found


def _best(scores: Sequence[Float[Tensor, "units"]]) -> Float[Tensor, "units"]:
    table = torch.stack(list(scores))
    best = table.nan_to_num(nan=-torch.inf).amax(0)
    return best.where(best.isfinite(), torch.nan)
