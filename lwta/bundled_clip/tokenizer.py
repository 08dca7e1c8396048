"""The small CLIP's vocabulary: the words it is trained on, and byte-pair merges that make one token of each.

open_clip's own `SimpleTokenizer` reads the merges, so its 49,408 rows shrink to some hundreds and nothing else changes.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from pictures.scenes import COLOURED, COLOURS, OBJECTS
from pictures.scenes.captions import NUMBERS, WHEN, WHERE

from .statements import all_statements, plural

SINGLE_BYTES = 512  # each byte alone and at the end of a word, which every vocabulary of this kind starts with
SPECIAL = 2  # start and end of text


def trained_words() -> tuple[str, ...]:
    """Every word of the statements' phrases and of the captions, sorted."""
    phrases = [phrase for statement in all_statements() for phrase in statement.phrases]
    phrases += [*WHERE.values(), *WHEN.values(), *NUMBERS.values(), "many a an and with"]
    phrases += [*OBJECTS, *map(plural, OBJECTS), *COLOURED, *COLOURS]
    return tuple(sorted({word for phrase in phrases for word in re.findall(r"[a-z]+", phrase.lower())}))


def merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every word is one token (Sennrich et al. 2016, algorithm 1).

    >>> merges(["boat", "boats"])
    [('b', 'o'), ('bo', 'a'), ('boa', 't'), ('boa', 't</w>'), ('boat', 's</w>')]
    """
    split = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    made = []
    while any(len(parts) > 1 for parts in split):
        pairs = Counter(pair for parts in split for pair in pairwise(parts))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        made.append(best)
        split = [_merged(parts, best) for parts in split]
    return made


def write_merges(path: Path, words: Iterable[str]) -> int:
    """Writes the merges as open_clip reads them (the same words give the same bytes); returns the number of tokens."""
    made = merges(words)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in made)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return SINGLE_BYTES + len(made) + SPECIAL


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
