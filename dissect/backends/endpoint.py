"""Any OpenAI-compatible chat endpoint: language, and captions where its model sees pictures.

Only what is written here leaves the machine: the requests and, of a captioner, the pictures. The key comes from the
environment (`LWTA_API_KEY`) and from nowhere else.
"""

import base64
import io
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, OfflineModeIsEnabled
from PIL import Image

from .protocols import Request

KEY = "LWTA_API_KEY"
CAPTION = "Describe what is visible in this picture in one short sentence."
_TOKENS = 64
# the base of all errors of the HTTP library that this huggingface_hub uses (requests, httpx or httpx2)
_HTTP_ERROR: type[Exception] = InferenceTimeoutError.__bases__[0]


class BackendError(RuntimeError):
    """A model gave no usable answer. What was answered before is kept: the same command goes on."""


@dataclass
class ChatEndpoint:
    """A model behind a URL (`https://host/v1#MODEL`).

    Args:
        timeout: seconds for one call. retries: further tries after 429, 5xx, a cut or silent connection, an answer that
            is none; they wait 1, 2, 4, ... seconds (with jitter), or what the server asks for, at most a minute.
        parallel: so many calls at a time is it good for; who asks begins them.
    """

    url: str
    model: str
    timeout: float = 60.0
    retries: int = 4
    parallel: int = 4
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._client = InferenceClient(base_url=self.url, api_key=os.environ.get(KEY, "-"), timeout=self.timeout)
        self._jitter = random.Random(0)

    @property
    def identity(self) -> str:
        return f"endpoint {self.url} {self.model} {_TOKENS} {CAPTION}"

    def answer(self, request: Request, *, temperature: float = 0.0, draw: int = 0) -> str:
        """The answer to a request; `draw` is the seed.

        Raises:
            BackendError: no usable answer after all retries, or a refusal.
        """
        messages = chat_messages(request)
        return self._asked(messages, temperature=temperature, seed=draw)

    def caption(self, pictures: Sequence[Image.Image]) -> list[str]:
        """One caption a picture, greedily, one after the other."""
        return [self._asked([_with_picture(picture)], temperature=0.0, seed=0) for picture in pictures]

    def _asked(self, messages: list[dict[str, Any]], **options: Any) -> str:
        said = "nothing"
        for attempt in range(self.retries + 1):
            pause = 2.0**attempt * (0.75 + self._jitter.random() / 2)
            try:
                found = self._client.chat_completion(messages, model=self.model, max_tokens=_TOKENS, **options)
                text = found.choices[0].message.content
                if isinstance(text, str) and text.strip():
                    return text
                said = "an empty answer"
            except HfHubHTTPError as error:
                said = f"status {error.response.status_code}"
                if error.response.status_code != 429 and error.response.status_code < 500:
                    raise BackendError(
                        f"Expected an answer of {self.model!r} at {self.url} but got {said}; check the URL, the name "
                        f"of the model and the key in {KEY}"
                    ) from error
                pause = _asked_for(error.response.headers.get("retry-after"), pause)
            except OfflineModeIsEnabled as error:
                raise BackendError(f"HF_HUB_OFFLINE is set: unset it to ask an endpoint ({self.url})") from error
            except (OSError, _HTTP_ERROR) as error:
                said = type(error).__name__
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                said = "an answer that is no chat completion"
            if attempt < self.retries:
                self.wait(min(pause, 60.0))
        raise BackendError(
            f"Expected an answer of {self.model!r} at {self.url} but got {said}, {self.retries + 1} times; what was "
            "answered before is kept: the same command goes on"
        )


def chat_messages(request: Request) -> list[dict[str, Any]]:
    """A request as the turns of a chat: each example is a turn and its answer."""
    messages: list[dict[str, Any]] = []
    for texts, answer in (*request.examples, (request.texts, "")):
        turn = f"{request.instruction}\n\n" + "\n".join(f"- {text}" for text in texts)
        messages.append({"role": "user", "content": turn})
        messages += [{"role": "assistant", "content": answer}] if answer else []
    return messages


def _with_picture(picture: Image.Image) -> dict[str, Any]:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {
        "role": "user",
        "content": [{"type": "text", "text": CAPTION}, {"type": "image_url", "image_url": {"url": url}}],
    }


def _asked_for(header: str | None, otherwise: float) -> float:
    """How long a server asks to wait, in seconds."""
    return float(header) if header and header.isascii() and header.isdigit() else otherwise
