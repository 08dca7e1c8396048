"""The phrases that may describe a unit: word lists from files or built in, and the prompts around them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from competition_layers.names import nearest

from ..fingerprints import digest

_WORD_LISTS = Path(__file__).resolve().parents[2] / "configs" / "concepts"


@dataclass(frozen=True)
class ConceptSet:
    """Names, each once, in the order of the source; `lines` are the source's as they stood, blank and repeated ones
    too.

    `templates` are the prompts, with `{}` for the name: the embedding of a concept is the mean over its prompts.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...] = ("{}",)
    source: str = ""
    lines: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """The hash of the names and prompts, and of the embeddings beside the file where there are some."""
        beside = self.embeddings_file
        return digest(self.names, self.templates, beside.read_bytes() if beside else "")

    @property
    def embeddings_file(self) -> Path | None:
        """`words.safetensors` beside `words.txt`, if there is one."""
        words = Path(self.source)
        if not words.is_file():  # built in, or made in Python
            return None
        beside = words.with_suffix(".safetensors")
        return beside if beside.is_file() else None

    def prompts(self) -> list[str]:
        """All texts to embed, name by name: the prompts of one name stand together."""
        return [template.replace("{}", name) for name in self.names for template in self.templates]

    def joined(self, embeddings: Float[Tensor, "prompts dim"]) -> Float[Tensor, "concepts dim"]:
        """One unit vector a name: the mean of the unit vectors of its prompts (CLIP's prompt ensembling)."""
        unit = torch.nn.functional.normalize(embeddings.float(), dim=-1)
        by_name = unit.unflatten(0, (len(self.names), len(self.templates)))
        return torch.nn.functional.normalize(by_name.mean(1), dim=-1)


def load_concepts(
    source: str | Path, *, templates: Sequence[str] = ("{}",), names: Sequence[str] | None = None
) -> ConceptSet:
    """A built-in set by name (`scenes`, `imagenet1k`, `imagenet21k`) or a text file, one phrase a line; or `names` as
    they are (a network's classes), from a source so called.

    Blank lines, repeated phrases, Windows line ends and a byte-order mark change nothing about the names.

    Raises:
        ValueError: an unknown set (the nearest is offered), a file without phrases, a template without `{}`.
    """
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"Expected a template with '{{}}' for the name but got {template!r}")
    if not templates:
        raise ValueError("Expected at least one template but got none")
    lines = _lines(str(source)) if names is None else [str(name).strip() for name in names]
    phrases = tuple(dict.fromkeys(line for line in lines if line))
    if not phrases:
        raise ValueError(f"Expected a phrase on some line of {str(source)!r} but got none")
    return ConceptSet(phrases, tuple(templates), str(source), tuple(lines))


def built_in_sets() -> list[str]:
    """The names `load_concepts` knows without a file."""
    return sorted({*(path.stem for path in _WORD_LISTS.glob("*.txt")), "imagenet1k", "imagenet21k"})


def _lines(source: str) -> list[str]:
    path = Path(source)
    if path.is_file():
        return _read(path)
    if source in ("imagenet1k", "imagenet21k"):
        return _imagenet("imagenet-1k" if source == "imagenet1k" else "imagenet-21k")
    if (_WORD_LISTS / f"{source}.txt").is_file():
        return _read(_WORD_LISTS / f"{source}.txt")
    known = built_in_sets()
    raise ValueError(
        f"Expected a text file or a concept set among {', '.join(known)} but got {source!r}{nearest(source, known)}"
    )


def _read(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected a text file in UTF-8 but got {str(path)!r} ({error})") from error


def _imagenet(subset: str) -> list[str]:
    from timm.data import ImageNetInfo  # seconds to import, and only these two sets need it

    info = ImageNetInfo(subset)
    # the first synonym: "tench, Tinca tinca" is one concept, "tench"
    return [info.index_to_description(i).split(",")[0].strip() for i in range(info.num_classes())]
