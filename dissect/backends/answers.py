"""Answers of models on disk, each under the hash of all that was asked: what was asked before is not asked again.

So a killed run goes on where it stopped, and a finished one repeats without the models and without a network.
"""

import io
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock

from PIL import Image

from competition_layers.files import write_file

from ..fingerprints import digest
from .budget import CallBudget, CallsSpentError
from .protocols import Captioner, LanguageModel, Request, TextToImage, parallel

FORMAT = 1
LONGEST = 400  # characters of an answer
_PIXELS = 2**24  # of a stored picture


@dataclass(frozen=True)
class AnswerStore:
    """A folder of answers, made when the first one is written, and how many more may be asked for.

    A question that several threads have at the same time is asked once.
    """

    folder: Path
    budget: CallBudget = field(default_factory=CallBudget, compare=False)
    _locks: dict[str, Lock] = field(default_factory=dict, init=False, repr=False, compare=False)

    def known(self, key: str) -> list[str] | None:
        """The texts under a key; None where it was not asked, or the file is damaged."""
        return _texts_in(self._path(key, "json"))

    def texts(self, key: str, make: Callable[[], list[str]]) -> list[str]:
        """The texts under a key; those that `make` gives, cleaned, where there are none.

        Raises:
            CallsSpentError: there are none, and no more may be asked for.
        """
        with self._locks.setdefault(key, Lock()):
            found = self.known(key)
            if found is None:
                self.budget.grant(1)
                found = self.keep(key, make())
            return found

    def keep(self, key: str, texts: Sequence[str]) -> list[str]:
        """Write texts under a key, cleaned."""
        found = [cleaned(text) for text in texts]
        self._write(key, found)
        return found

    def pictures(self, key: str, make: Callable[[], list[Image.Image]]) -> list[Image.Image]:
        """The pictures under a key, side by side in one file a picture; those that `make` gives where they are not.

        Raises:
            CallsSpentError: they are not, and no more may be asked for.
        """
        names = self.known(key)
        if names is not None:
            found = [_picture_in(self._path(name, "png")) for name in names if re.fullmatch(r"[0-9a-f]{32}", name)]
            if len(found) == len(names) and None not in found:
                return [picture for picture in found if picture is not None]
        self.budget.grant(1)
        made = [picture.convert("RGB") for picture in make()]
        names = [digest(key, i) for i in range(len(made))]
        for name, picture in zip(names, made, strict=True):
            with write_file(self._path(name, "png")) as temporary:
                picture.save(temporary, "PNG")
        self._write(key, names)  # last: a key without pictures is no answer
        return made

    def _write(self, key: str, texts: list[str]) -> None:
        with write_file(self._path(key, "json")) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, "texts": texts}) + "\n", encoding="utf-8")

    def _path(self, key: str, kind: str) -> Path:
        place = self.folder / key[:2]
        place.mkdir(parents=True, exist_ok=True)
        return place / f"{key}.{kind}"


@dataclass(frozen=True)
class RememberedCaptioner:
    """A captioner that is asked about each picture once."""

    captioner: Captioner
    store: AnswerStore

    @property
    def identity(self) -> str:
        return self.captioner.identity

    @property
    def parallel(self) -> int:
        return parallel(self.captioner)

    def caption(self, pictures: Sequence[Image.Image]) -> list[str]:
        """One caption a picture.

        Raises:
            CallsSpentError: some are new, and no more may be asked for; those that were are kept.
        """
        keys = [digest("caption", self.identity, picture_hash(picture)) for picture in pictures]
        said = {key: self.store.known(key) for key in keys}
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if said[key] is None}
        granted = list(new.items())[: self.store.budget.grant(len(new))]
        at_once = 1 if self.parallel > 1 else max(1, len(granted))  # an endpoint's answers are kept one by one
        for at in range(0, len(granted), at_once):
            some = granted[at : at + at_once]
            captions = self.captioner.caption([picture for _, picture in some])
            for (key, _), caption in zip(some, captions, strict=True):
                said[key] = self.store.keep(key, [caption])
        if any(texts is None for texts in said.values()):
            raise CallsSpentError(f"Expected at most {self.store.budget.most} calls of models and they are used up")
        return [texts[0] for key in keys if (texts := said[key])]


@dataclass(frozen=True)
class RememberedModel:
    """A language model that is asked each question once."""

    model: LanguageModel
    store: AnswerStore

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def parallel(self) -> int:
        return parallel(self.model)

    def answer(self, request: Request, *, temperature: float = 0.0, draw: int = 0) -> str:
        key = digest("answer", self.identity, json.dumps(asdict(request)), temperature, draw)
        return self.store.texts(key, lambda: [self.model.answer(request, temperature=temperature, draw=draw)])[0]


@dataclass(frozen=True)
class RememberedPictures:
    """Pictures of phrases that are drawn once."""

    pictures: TextToImage
    store: AnswerStore

    @property
    def identity(self) -> str:
        return self.pictures.identity

    def draw(self, phrase: str, count: int) -> list[Image.Image]:
        key = digest("pictures", self.identity, phrase, count)
        return self.store.pictures(key, lambda: self.pictures.draw(phrase, count))


def cleaned(text: str) -> str:
    """An answer as one line of printable text of at most `LONGEST` characters.

    >>> cleaned("  a red\\nboat\\x1b[31m ")
    'a red boat[31m'
    """
    text = " ".join(text.split())
    kept = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    return kept.strip()[:LONGEST].strip()


def picture_hash(picture: Image.Image) -> str:
    """The hash of what a picture shows."""
    return digest(picture.mode, picture.size, picture.tobytes())


def _texts_in(path: Path) -> list[str] | None:
    """The texts of a file; None where there is none, or a damaged one: then they are asked for again."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        texts = found["texts"]
        whole = found["format"] == FORMAT and isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return [cleaned(text) for text in texts] if whole else None


def _picture_in(path: Path) -> Image.Image | None:
    try:
        picture = Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"])
        return picture.convert("RGB") if picture.width * picture.height <= _PIXELS else None
    except (OSError, ValueError):
        return None
