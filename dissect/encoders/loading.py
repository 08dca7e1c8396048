"""An encoder by its name on the command line."""

from pathlib import Path

import torch

from .clip import ClipEncoder, is_open_clip, open_clip_model
from .precomputed import PrecomputedEncoder
from .protocol import ImageTextEncoder


def load_encoder(name: str | Path, *, batch_size: int = 64, device: torch.device | str = "cpu") -> ImageTextEncoder:
    """An encoder by name.

    `bundled`: the small CLIP of the scenes. `MODEL/TAG`: an open_clip model and its pretrained tag ("ViT-B-32/openai").
    `MODEL/FILE`, `MODEL/TAG=FILE`: its weights in a file. `hf-hub:OWNER/NAME`, `local-dir:PATH`: as in open_clip. A
    `.safetensors` file: precomputed image `embeddings`.

    Raises:
        ValueError: an unknown model or tag (the nearest is offered), weights that do not fit.
        FileNotFoundError: no such file; weights that are neither in the cache nor on the Hub.
    """
    name = str(name)
    if name.endswith(".safetensors") and (Path(name).is_file() or not is_open_clip(name)):
        return PrecomputedEncoder(name)
    if name == "bundled":
        from . import bundled_clip

        model, preprocess, tokenizer = bundled_clip.load()
        return ClipEncoder(model, preprocess, tokenizer, bundled_clip.words(), batch_size=batch_size, device=device)
    return ClipEncoder(*open_clip_model(name), batch_size=batch_size, device=device)
