"""Any open_clip model as an encoder. The only file, beside the bundled model's own, that imports open_clip."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import normalize
from tqdm import tqdm

from competition_layers.names import nearest

from ..fingerprints import digest, model_fingerprint, transform_fingerprint
from ..probe.passes import batches
from ..probe.probe_images import ProbeImages
from .concepts import ConceptSet
from .tokenizer import check_length, check_words, readable

Parts = tuple[nn.Module, Callable, Callable]  # model, preprocessing, tokenizer
_PREPARED_BY = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")  # keys of a tag's configuration


class ClipEncoder:
    """An open_clip model with its own preprocessing and tokenizer.

    `words` are those the text tower was trained on (`None`: all). A phrase with another word, or longer than the
    tower's context, is refused by name. `centres`: unit vectors where its training pictures lie (`None`: anywhere).
    """

    centres: Float[Tensor, "centres dim"] | None = None

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
        check_length(concepts, self.tokenizer)
        prompts, parts = concepts.prompts(), []
        with tqdm(total=len(prompts), desc="embed phrases", unit="phrase", disable=None, leave=False) as steps:
            for start in range(0, len(prompts), self.batch_size):
                tokens = self.tokenizer(prompts[start : start + self.batch_size])
                parts.append(self.model.encode_text(tokens.to(self.device)).float().cpu())
                steps.update(len(tokens))
        return concepts.joined(torch.cat(parts))

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        kept = readable(concepts, self.words, self.tokenizer)
        return kept, len(concepts) - len(kept)


def is_open_clip(name: str) -> bool:
    """Whether `name` begins with an open_clip model's: MODEL/..."""
    import open_clip  # seconds to import: only for those who use it

    return name.partition("/")[0] in open_clip.list_models()


def open_clip_model(name: str) -> Parts:
    """The parts of `MODEL/TAG`, `MODEL/FILE`, `MODEL/TAG=FILE`, `hf-hub:OWNER/NAME` or `local-dir:PATH`.

    Raises:
        ValueError: an unknown model or tag (the nearest is offered); weights that cannot be read, or do not fit; a
            file whose preprocessing is not known. FileNotFoundError: weights neither in the cache nor on the Hub.
    """
    import open_clip

    if name.startswith(("hf-hub:", "local-dir:")):
        return _loaded(name, name, {}, local=name.startswith("local-dir:"))
    model_name, _, weights = name.partition("/")
    known = open_clip.list_models()
    if model_name not in known:
        raise ValueError(
            "Expected 'bundled', MODEL/TAG of open_clip, 'hf-hub:...', 'local-dir:...' or a .safetensors file but got "
            f"{name!r}{nearest(model_name, known)}"
        )
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    tag, _, file = ("", "", weights) if Path(weights).is_file() else weights.partition("=")
    if (tag and tag not in tags) or not (tag or file):
        raise ValueError(
            f"Expected {model_name}/TAG with a tag among {', '.join(tags)} but got {name!r}{nearest(tag, tags)}"
        )
    if file and not Path(file).is_file():
        raise FileNotFoundError(f"Expected {model_name}/{tag}=FILE with a file of weights but {file!r} is not there")
    prepared = _prepared(model_name, tags, tag, name)
    options: dict[str, Any] = {"pretrained": file or tag, "force_quick_gelu": bool(prepared.get("quick_gelu"))}
    if file:  # open_clip looks a tag's preprocessing up, but takes a file's to be OpenAI's
        options |= {f"image_{key}": prepared[key] for key in _PREPARED_BY[:-1] if prepared.get(key) is not None}
    return _loaded(name, model_name, options, local=bool(file))


def _prepared(model_name: str, tags: list[str], tag: str, name: str) -> dict[str, Any]:
    """The configuration of the tag; without one, that of all tags of the model, where they agree."""
    import open_clip

    found = {each: open_clip.get_pretrained_cfg(model_name, each) or {} for each in ([tag] if tag else tags)}
    differ = [key for key in _PREPARED_BY if len({str(one.get(key) or None) for one in found.values()}) > 1]
    if differ:
        raise ValueError(
            f"Expected {model_name}/TAG=FILE, since the weights of {model_name} differ in {', '.join(differ)}, but got "
            f"{name!r}: say whose the file's are, among {', '.join(tags)}"
        )
    return next(iter(found.values()), {})


def _loaded(name: str, model_name: str, options: dict[str, Any], *, local: bool) -> Parts:
    import open_clip

    try:
        model, _, preprocess = open_clip.create_model_and_transforms(model_name, **options)
        return model, preprocess, open_clip.get_tokenizer(model_name)
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        said = str(error).strip().partition("\n")[0]
        if local:
            raise ValueError(
                f"Expected weights of open_clip's format that fit in {name!r} but got: {said}; copy them anew"
            ) from error
        raise FileNotFoundError(
            f"Expected the weights of {name!r} in the cache or on the Hub but got: {said}; without a network give "
            f"MODEL/FILE, MODEL/TAG=FILE, local-dir:FOLDER, or a .safetensors file of precomputed embeddings"
        ) from error
