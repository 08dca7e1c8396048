"""Models of the transformers library, by name or folder: captions, language, and how likely phrases are.

Weights are safetensors or GGUF, never pickles; code of a model's author is never run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from ..fingerprints import digest, sampled_fingerprint
from ..optional import needed
from .endpoint import CAPTION, chat_messages
from .protocols import Request

_TOKENS = 32  # of a caption or an answer: Describe-and-Dissect's
_FEWEST = 5  # of an encoder-decoder's caption, its mark of the beginning included: the same
_BATCH = 16


class TransformersCaptioner:
    """Any `AutoModelForImageTextToText`: encoder-decoders (BLIP) and chat models (SmolVLM, Qwen-VL), greedily."""

    def __init__(self, name: str, *, device: torch.device | str = "cpu") -> None:
        library = needed("transformers", "captions")
        self.processor = _loaded(library.AutoProcessor, name)
        self.model = _loaded(library.AutoModelForImageTextToText, name, use_safetensors=True).eval().to(device)
        self.device = torch.device(device)
        self.chats = bool(getattr(self.processor, "chat_template", None))
        self.identity = f"transformers captioner {_identity(self.model, self.processor)} {_TOKENS} {_FEWEST} {CAPTION}"

    @torch.no_grad()
    def caption(self, pictures: Sequence[Image.Image]) -> list[str]:
        said: list[str] = []
        for at in range(0, len(pictures), _BATCH):
            some = [picture.convert("RGB") for picture in pictures[at : at + _BATCH]]
            if self.chats:
                said += [self._chatted(picture) for picture in some]
                continue
            inputs = self.processor(images=some, return_tensors="pt").to(self.device)
            written = self.model.generate(**inputs, max_new_tokens=_TOKENS, min_length=_FEWEST, do_sample=False)
            said += self.processor.batch_decode(written, skip_special_tokens=True)
        return said

    @torch.no_grad()
    def log_likelihoods(
        self, pictures: Sequence[Image.Image], phrases: Sequence[str]
    ) -> Float[Tensor, "pictures phrases"]:
        """Log-probability of each phrase and its end as the caption of each picture, a pass for each pair."""
        rows = [self._tokens(phrase) for phrase in phrases]
        found = torch.empty(len(pictures), len(rows))
        for i, picture in enumerate(pictures):
            inputs = self._prompt(picture.convert("RGB"))
            for j, row in enumerate(rows):
                found[i, j] = self._likelihood(dict(inputs), row.to(self.device))
        return found

    def _tokens(self, phrase: str) -> Int[Tensor, "tokens"]:
        """A phrase's, and the end's."""
        tokenizer = self.processor.tokenizer
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        return torch.tensor([*tokenizer(phrase, add_special_tokens=False).input_ids, end])

    def _likelihood(self, inputs: dict[str, Any], row: Int[Tensor, "tokens"]) -> Float[Tensor, ""]:
        """Of the tokens of `row` after the prompt: an encoder-decoder's is its mark of the beginning alone."""
        before = inputs.get("input_ids")
        if before is None:
            begin = self.model.config.get_text_config().bos_token_id
            before = torch.tensor([[begin]], device=self.device)
        ids = torch.cat([before, row[None]], 1)
        for name, fill in (("attention_mask", 1), ("token_type_ids", 0), ("mm_token_type_ids", 0)):
            if name in inputs:
                inputs[name] = torch.nn.functional.pad(inputs[name], (0, len(row)), value=fill)
        inputs = {"attention_mask": torch.ones_like(ids), **inputs, "input_ids": ids}
        logits = self.model(**inputs).logits[0, -len(row) - 1 : -1].float()  # some also answer at the picture's places
        return logits.log_softmax(-1).gather(1, row[:, None]).sum()

    def _prompt(self, picture: Image.Image) -> Any:
        """What the model is given before its caption."""
        if not self.chats:
            return self.processor(images=[picture], return_tensors="pt").to(self.device)
        content = [{"type": "image", "image": picture}, {"type": "text", "text": CAPTION}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.device)

    def _chatted(self, picture: Image.Image) -> str:
        inputs = self._prompt(picture)
        written = self.model.generate(**inputs, max_new_tokens=_TOKENS, do_sample=False)
        return str(self.processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


class TransformersLanguageModel:
    """Any `AutoModelForCausalLM`, a GGUF file too: answers requests, and is a prior of phrases."""

    def __init__(self, name: str, *, device: torch.device | str = "cpu") -> None:
        library = needed("transformers", "llm")
        where: dict[str, Any] = {}
        if name.endswith(".gguf"):
            needed("gguf", "llm")
            needed("accelerate", "llm")
            where["gguf_file"] = Path(name).name
            name = str(Path(name).parent)
        self.tokenizer = _loaded(library.AutoTokenizer, name, **where)
        safe = {} if where else {"use_safetensors": True}
        self.model = _loaded(library.AutoModelForCausalLM, name, **where, **safe).eval().to(device)
        self.device = torch.device(device)
        self.identity = f"transformers language model {_identity(self.model, self.tokenizer)} {_TOKENS}"

    @torch.no_grad()
    def answer(self, request: Request, *, temperature: float = 0.0, draw: int = 0) -> str:
        """The answer to a request; sampled by the seed `draw` where the temperature is above 0."""
        messages = chat_messages(request)
        if getattr(self.tokenizer, "chat_template", None):
            ids = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )["input_ids"]
        else:
            turns = "\n\n".join(str(message["content"]) for message in messages)
            ids = self.tokenizer(f"{turns}\n\n", return_tensors="pt").input_ids
        sampled = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw)
            written = self.model.generate(
                ids.to(self.device),
                attention_mask=torch.ones_like(ids).to(self.device),
                max_new_tokens=_TOKENS,
                pad_token_id=self.tokenizer.eos_token_id,
                **sampled,
            )
        return str(self.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))

    @torch.no_grad()
    def log_probabilities(self, phrases: Sequence[str]) -> Float[Tensor, "phrases"]:
        """Natural log-probabilities of phrases, summed over their tokens after the first mark (or first token)."""
        found = []
        for phrase in phrases:
            ids = self.tokenizer(phrase, return_tensors="pt").input_ids
            begin = self.tokenizer.bos_token_id
            if begin is not None and int(ids[0, 0]) != begin:
                ids = torch.cat([torch.tensor([[begin]]), ids], 1)
            logits = self.model(ids.to(self.device)).logits[0, :-1].float().log_softmax(-1).cpu()
            found.append(logits.gather(1, ids[0, 1:, None]).sum())
        return torch.stack(found) if found else torch.empty(0)


def _loaded(kind: Any, name: str, **options: Any) -> Any:
    """What transformers finds under a name or in a folder.

    Raises:
        FileNotFoundError: nothing that it reads, in words.
    """
    try:
        return kind.from_pretrained(name, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        said = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"Expected a model of transformers (a name, or a folder with safetensors) but got {name!r}: {said}"
        ) from error


def _identity(model: Any, reader: Any) -> str:
    """The hash of what answers depend on: configurations, weights (sampled), and how a chat is written."""
    generation = getattr(model, "generation_config", None)
    template = getattr(reader, "chat_template", None)
    return digest(model.config.to_json_string(), str(generation), str(template), sampled_fingerprint([model]))
