"""A language model's place taken by counting: the phrases that most texts share. It writes nothing of its own."""

import re
from collections import Counter
from dataclasses import dataclass

from ..naming.synonyms import plain_form
from .protocols import Request

_BETWEEN = re.compile(r"[,;.:]|\b(?:and|with|on|in|at|by|beside|of|near)\b", re.IGNORECASE)


@dataclass(frozen=True)
class WordStatistics:
    """Draw n of an answer is the (n+1)th most shared phrase of the texts; of one text it is that text.

    Phrases are what stands between commas, prepositions and "and"; articles, plurals and capitals do not count. Among
    equally shared ones the shorter comes first, then the earlier. This is no language model, and says so.
    """

    identity: str = "word statistics (no language model)"

    def answer(self, request: Request, *, temperature: float = 0.0, draw: int = 0) -> str:
        if len(request.texts) == 1:
            return request.texts[0]
        shared: Counter[str] = Counter()
        for text in request.texts:
            shared.update(phrases_of(text))
        ranked = sorted(shared, key=lambda phrase: (-shared[phrase], len(phrase)))
        return ranked[min(draw, len(ranked) - 1)] if ranked else ""


def phrases_of(text: str) -> list[str]:
    """The plain phrases of a text, and the last word of each longer one, in their order.

    >>> phrases_of("A red boat and two palms on a beach")
    ['red boat', 'boat', 'two palm', 'palm', 'beach']
    """
    found = []
    for part in _BETWEEN.split(text):
        if phrase := plain_form(part):
            found += [phrase, phrase.split()[-1]]
    return list(dict.fromkeys(found))
