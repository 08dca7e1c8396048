"""Where pictures and phrases meet: any open_clip model, the bundled small one, or embeddings computed elsewhere.

The only file (beside the bundled model's own) that imports open_clip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import normalize
from tqdm import tqdm

from competition_layers.names import nearest

from ..folder.store import digest, model_fingerprint, transform_fingerprint
from ..probe.passes import batches
from ..probe.probe_images import ProbeImages
from .concepts import ConceptSet
from .tokenizer import check_words, drop_unknown


@runtime_checkable
class ImageTextEncoder(Protocol):
    """Pictures and phrases as unit vectors (fp32) in one space. `identity` changes whenever the vectors would."""

    @property
    def identity(self) -> str: ...

    def encode_images(self, probe: ProbeImages) -> Float[Tensor, "images dim"]: ...

    def encode_texts(self, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]: ...

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        """The concepts that the encoder was made for, and how many others were dropped."""
        ...


@runtime_checkable
class PixelEncoder(ImageTextEncoder, Protocol):
    """An encoder that takes pictures batch by batch, so that it can share a pass with another network."""

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]: ...

    def encode_batch(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images dim"]:
        """Unit vectors of preprocessed pictures, in fp32 on the CPU."""
        ...


def load_encoder(name: str | Path, *, batch_size: int = 64, device: torch.device | str = "cpu") -> ImageTextEncoder:
    """An encoder by name.

    `bundled`: the small CLIP of the scenes. `MODEL/TAG`: an open_clip model and its pretrained tag ("ViT-B-32/openai").
    `hf-hub:OWNER/NAME`, `local-dir:PATH`: as in open_clip. A `.safetensors` file: precomputed image `embeddings`.

    Raises:
        ValueError: an unknown model or tag (the nearest is offered). FileNotFoundError: no such file.
    """
    name = str(name)
    if name.endswith(".safetensors"):
        return PrecomputedEncoder(name)
    if name == "bundled":
        from . import bundled_clip

        model, preprocess, tokenizer = bundled_clip.load()
        return ClipEncoder(model, preprocess, tokenizer, bundled_clip.words(), batch_size=batch_size, device=device)
    return ClipEncoder(*_open_clip(name), batch_size=batch_size, device=device)


class ClipEncoder:
    """An open_clip model with its own preprocessing and tokenizer.

    `words` are those the text tower was trained on (`None`: all); a phrase with any other word is refused by name.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable,
        tokenizer: Callable,
        words: frozenset[str] | None = None,
        *,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model = model.eval().to(device)
        self.preprocess = preprocess
        self.tokenizer = tokenizer
        self.words = words
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.identity = f"clip {digest(model_fingerprint(model), transform_fingerprint(preprocess))}"

    @torch.no_grad()
    def encode_batch(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images dim"]:
        return normalize(self.model.encode_image(x.to(self.device)).float().cpu(), dim=-1)

    def encode_images(self, probe: ProbeImages) -> Float[Tensor, "images dim"]:
        parts = []
        with tqdm(total=len(probe), desc="embed images", unit="image", disable=None, leave=False) as steps:
            for x in batches(probe, self.preprocess, batch_size=self.batch_size):
                parts.append(self.encode_batch(x))
                steps.update(len(x))
        return torch.cat(parts)

    @torch.no_grad()
    def encode_texts(self, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]:
        if self.words is not None:
            check_words(concepts, self.words)
        prompts, parts = concepts.prompts(), []
        with tqdm(total=len(prompts), desc="embed phrases", unit="phrase", disable=None, leave=False) as steps:
            for start in range(0, len(prompts), self.batch_size):
                tokens = self.tokenizer(prompts[start : start + self.batch_size])
                parts.append(self.model.encode_text(tokens.to(self.device)).float().cpu())
                steps.update(len(tokens))
        return concepts.joined(torch.cat(parts))

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        return (concepts, 0) if self.words is None else drop_unknown(concepts, self.words)


@dataclass(frozen=True)
class PrecomputedEncoder:
    """Embeddings computed elsewhere: of the images from `path` (tensor `embeddings`, rows in the probe's order), of
    the phrases from the safetensors file beside the word list, rows in the order of its lines."""

    path: str

    @property
    def identity(self) -> str:
        return f"precomputed {digest(_embeddings(Path(self.path)))}"

    def encode_images(self, probe: ProbeImages) -> Float[Tensor, "images dim"]:
        rows = _embeddings(Path(self.path))
        if len(rows) == probe.found:
            rows = rows[list(probe.positions)]
        elif len(rows) != len(probe):
            raise ValueError(
                f"Expected one row of embeddings in {self.path!r} for each of the {probe.found} probe images "
                f"but got {len(rows)}"
            )
        return normalize(rows, dim=-1)

    def encode_texts(self, concepts: ConceptSet) -> Float[Tensor, "concepts dim"]:
        if concepts.embeddings_file is None:
            raise ValueError(
                f"Expected text embeddings beside the word list but got none for {concepts.source!r}: with precomputed "
                "images, give WORDS.txt with a WORDS.safetensors (tensor 'embeddings', a row a line) next to it"
            )
        if concepts.templates != ("{}",):
            raise ValueError(
                f"Expected no templates with precomputed text embeddings but got {list(concepts.templates)}"
            )
        rows = _embeddings(concepts.embeddings_file)
        lines = list(concepts.lines)
        if len(rows) != len(lines):  # a file that was made without the blank lines
            lines = [line for line in lines if line]
        if len(rows) != len(lines):
            raise ValueError(
                f"Expected a row of {str(concepts.embeddings_file)!r} for each of the {len(concepts.lines)} lines "
                f"({len(lines)} not blank) of {concepts.source!r} but got {len(rows)}"
            )
        first = {line: i for i, line in reversed(list(enumerate(lines)))}
        return normalize(rows[[first[name] for name in concepts.names]], dim=-1)

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        return concepts, 0


def _embeddings(path: Path) -> Tensor:
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a safetensors file with 'embeddings' but got {str(path)!r}, which does not exist"
        )
    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        if "embeddings" not in keys:
            raise ValueError(f"Expected a tensor 'embeddings' in {str(path)!r} but got {', '.join(keys) or 'none'}")
        return file.get_tensor("embeddings").float()


def _open_clip(name: str) -> tuple[nn.Module, Callable, Callable]:
    import open_clip  # seconds to import: only for those who use it

    if name.startswith(("hf-hub:", "local-dir:")):
        model, _, preprocess = open_clip.create_model_and_transforms(name)
        return model, preprocess, open_clip.get_tokenizer(name)
    model_name, _, tag = name.partition("/")
    known = open_clip.list_models()
    if model_name not in known:
        raise ValueError(
            "Expected 'bundled', MODEL/TAG of open_clip, 'hf-hub:...', 'local-dir:...' or a .safetensors file but got "
            f"{name!r}{nearest(model_name, known)}"
        )
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    if tag not in tags and not Path(tag).is_file():
        raise ValueError(
            f"Expected {model_name}/TAG with a tag among {', '.join(tags)} but got {name!r}{nearest(tag, tags)}"
        )
    # OpenAI's own weights need their own GELU; open_clip would only warn, and compute other embeddings
    quick = bool((open_clip.get_pretrained_cfg(model_name, tag) or {}).get("quick_gelu"))
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(model_name, pretrained=tag, force_quick_gelu=quick)
    except RuntimeError as error:
        if "Failed to download" not in str(error):
            raise
        raise FileNotFoundError(
            f"Expected the weights of {name!r} in the cache or on the Hub but got neither; without a network give "
            f"{model_name}/FILE, local-dir:FOLDER, or a .safetensors file of precomputed embeddings"
        ) from error
    return model, preprocess, open_clip.get_tokenizer(model_name)
