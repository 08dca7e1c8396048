"""Which phrases are made of words that an encoder was trained on."""

import re
from dataclasses import replace

from .concepts import ConceptSet


def check_words(concepts: ConceptSet, words: frozenset[str]) -> None:
    """Refuse phrases with a word outside `words`, by name."""
    bad = {text: unknown for text in concepts.prompts() if (unknown := _unknown(text, words))}
    if bad:
        shown = "; ".join(f"{text!r} ({', '.join(unknown)})" for text, unknown in list(bad.items())[:5])
        raise ValueError(
            f"Expected phrases of words that the encoder was trained on but got {len(bad)} with others: {shown}"
            f"{'; ...' if len(bad) > 5 else ''}; take another encoder, or drop them (--drop_unknown=true)"
        )


def drop_unknown(concepts: ConceptSet, words: frozenset[str]) -> tuple[ConceptSet, int]:
    """The phrases of known words only, and how many were dropped.

    Raises:
        ValueError: none is left.
    """
    names = tuple(name for name in concepts.names if not _unknown(name, words))
    if not names:
        raise ValueError(
            f"Expected some phrase of known words in {concepts.source!r} but all {len(concepts)} have others"
        )
    return replace(concepts, names=names), len(concepts) - len(names)


def _unknown(name: str, words: frozenset[str]) -> list[str]:
    return [word for word in re.findall(r"[^\W_]+", name.lower()) if word not in words]
