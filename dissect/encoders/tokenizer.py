"""Which phrases an encoder reads whole: of words that it was trained on, and no longer than its context."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from .concepts import ConceptSet

_BATCH = 256  # prompts tokenised at a time


def check_words(concepts: ConceptSet, words: frozenset[str]) -> None:
    """Refuse phrases with a word outside `words`, by name."""
    bad = {text: found for text in concepts.prompts() if (found := unknown_words(text, words))}
    if bad:
        shown = _listed([f"{text!r} ({', '.join(found)})" for text, found in bad.items()])
        raise ValueError(
            f"Expected phrases of words that the encoder was trained on but got {len(bad)} with others: {shown}; take "
            "another encoder, or drop them (--drop_unknown=true)"
        )


def check_length(concepts: ConceptSet, tokenizer: Callable) -> None:
    """Refuse phrases that the tokenizer would cut: cut phrases become equal."""
    bad = [text for text, cut in zip(concepts.prompts(), too_long(concepts.prompts(), tokenizer), strict=True) if cut]
    if bad:
        most, shown = getattr(tokenizer, "context_length", 0), _listed([repr(f"{text[:60]}...") for text in bad])
        raise ValueError(
            f"Expected phrases of at most {most} tokens, which the encoder reads whole, but got {len(bad)} longer: "
            f"{shown}; shorten them, or drop them (--drop_unknown=true)"
        )


def readable(concepts: ConceptSet, words: frozenset[str] | None, tokenizer: Callable) -> ConceptSet:
    """The phrases whose prompts are all read whole.

    Raises:
        ValueError: none is left.
    """
    prompts = concepts.prompts()
    bad = [
        cut or (words is not None and bool(unknown_words(text, words)))
        for text, cut in zip(prompts, too_long(prompts, tokenizer), strict=True)
    ]
    each = len(concepts.templates)
    names = tuple(name for i, name in enumerate(concepts.names) if not any(bad[i * each : (i + 1) * each]))
    if not names:
        raise ValueError(
            f"Expected some phrase that the encoder reads whole in {concepts.source!r} but all {len(concepts)} have "
            "unknown words or are too long"
        )
    return replace(concepts, names=names)


def too_long(texts: Sequence[str], tokenizer: Callable) -> list[bool]:
    """Whether each text has more tokens than the encoder's context; False where the tokenizer does not say its own."""
    length = getattr(tokenizer, "context_length", None)
    if not length:
        return [False] * len(texts)
    padding = tokenizer([""], context_length=8 * length)[0, -1]
    found: list[bool] = []
    for start in range(0, len(texts), _BATCH):
        tokens = tokenizer(list(texts[start : start + _BATCH]), context_length=8 * length)
        found += (tokens[:, length:] != padding).any(1).tolist()
    return found


def unknown_words(text: str, words: frozenset[str]) -> list[str]:
    """The words of `text` that are not among `words`."""
    return [word for word in re.findall(r"[^\W_]+", text.lower()) if word not in words]


def _listed(shown: Sequence[str], *, most: int = 5) -> str:
    return "; ".join(shown[:most]) + ("; ..." if len(shown) > most else "")
