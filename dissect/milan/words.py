"""The words of descriptions as numbers: lower-case words and punctuation marks, four marks of their own."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

PAD, START, STOP, UNKNOWN = range(4)
MARKS = ("<pad>", "<start>", "<stop>", "<unk>")
LONGEST = 15  # tokens of a description, with its stop (MILAN's)


@dataclass(frozen=True)
class Words:
    """The known words; the marks come first."""

    known: tuple[str, ...]

    @classmethod
    def of(cls, descriptions: Iterable[str]) -> "Words":
        """Every word of some descriptions, the frequent first."""
        counts = Counter(word for description in descriptions for word in split_words(description))
        return cls((*MARKS, *sorted(counts, key=lambda word: (-counts[word], word))))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.known)}

    def encode(self, descriptions: Sequence[str]) -> Int[Tensor, "descriptions longest"]:
        """A row a description, cut at `LONGEST`, ended by a stop and filled up.

        >>> Words.of(["a red boat"]).encode(["A boat!"])[0, :5].tolist()
        [4, 5, 3, 2, 0]
        """
        rows = torch.full((len(descriptions), LONGEST), PAD)
        for row, description in zip(rows, descriptions, strict=True):
            numbers = [self._numbers.get(word, UNKNOWN) for word in split_words(description)][: LONGEST - 1]
            row[: len(numbers) + 1] = torch.tensor([*numbers, STOP])
        return rows

    def decode(self, row: Sequence[int]) -> str:
        """The words of a row up to its stop."""
        said = []
        for number in row:
            if number == STOP:
                break
            said += [self.known[number]] if number > UNKNOWN else []
        return " ".join(said)


def split_words(description: str) -> list[str]:
    """The words and punctuation marks of a description, lower-case."""
    return re.findall(r"\w+|[^\w\s]", description.lower())
