"""Phrases as unit vectors by a sentence encoder of transformers: it knows words, and no pictures."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ..optional import needed

BATCH = 64


def load_sentence_encoder(name: str) -> Callable[[Sequence[str]], Float[Tensor, "phrases dim"]]:
    """The encoder of a model's name or folder: the mean of its last hidden states over the tokens, of length 1.

    Raises:
        FileNotFoundError: no such model. ImportError: transformers is missing.
    """
    library = needed("transformers", "captions")
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(name)
        model = library.AutoModel.from_pretrained(name, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(f"Expected a sentence encoder of transformers but got {name!r}: {said}") from error

    @torch.no_grad()
    def embed(phrases: Sequence[str]) -> Float[Tensor, "phrases dim"]:
        rows = []
        for at in range(0, len(phrases), BATCH):
            some = list(phrases[at : at + BATCH])
            tokens = tokenizer(some, padding=True, truncation=True, return_tensors="pt")
            mask = tokens["attention_mask"][..., None]
            rows.append((model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1))
        return normalize(torch.cat(rows), dim=1)

    return embed
