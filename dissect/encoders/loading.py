"""An encoder by its name on the command line."""

from pathlib import Path

import torch

from . import bundled_clip
from .clip import ClipEncoder, is_open_clip, open_clip_model
from .precomputed import PrecomputedEncoder
from .protocol import ImageTextEncoder


def load_encoder(name: str | Path, *, batch_size: int = 64, device: torch.device | str = "cpu") -> ImageTextEncoder:
    """An encoder by name.

    `bundled`: the small CLIP of the scenes; a folder: another of its kind, which `python -m lwta.bundled_clip.train
    --out FOLDER` writes. `MODEL/TAG`: an open_clip model and its pretrained tag ("ViT-B-32/openai").
    `MODEL/FILE`, `MODEL/TAG=FILE`: its weights in a file. `hf-hub:OWNER/NAME`, `local-dir:PATH`: as in open_clip. A
    `.safetensors` file: precomputed image `embeddings`.

    Raises:
        ValueError: an unknown model or tag (the nearest is offered), weights that do not fit.
        FileNotFoundError: no such file; weights that are neither in the cache nor on the Hub.
    """
    name = str(name)
    if name.endswith(".safetensors") and (Path(name).is_file() or not is_open_clip(name)):
        return PrecomputedEncoder(name)
    folder = bundled_clip.HERE if name == "bundled" else Path(name)
    if bundled_clip.is_bundle(folder):
        parts = bundled_clip.load(folder)
        encoder = ClipEncoder(*parts, bundled_clip.words(folder), batch_size=batch_size, device=device)
        encoder.centres = bundled_clip.centres(folder)
        return encoder
    return ClipEncoder(*open_clip_model(name), batch_size=batch_size, device=device)
