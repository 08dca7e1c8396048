"""Content hashes: of tensors, texts, transforms. What has the same hash gives the same results."""

import hashlib
import re
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch
from torch import Tensor


def digest(*parts: object) -> str:
    """A content hash of strings, bytes, tensors and nested sequences of them; anything else by its `repr`.

    >>> digest("a", "bc") == digest("ab", "c")
    False
    """
    hasher = hashlib.sha256()
    for part in parts:
        _feed(hasher, part)
    return hasher.hexdigest()[:32]


def transform_fingerprint(transform: Callable) -> str:
    """What a transform is made of, the same in every run: what it says of itself, or the code and values of functions
    and objects that say only where in memory they are."""
    parts = getattr(transform, "transforms", None)  # torchvision's Compose
    if isinstance(parts, list | tuple):
        return f"{type(transform).__name__}({', '.join(map(transform_fingerprint, parts))})"
    if not _by_address(transform):
        return str(transform)
    if hasattr(transform, "__code__"):
        return f"{transform.__qualname__} {digest(*_code(transform))}"
    return f"{type(transform).__qualname__} {digest(*_values(transform))}"


def _by_address(thing: object) -> bool:
    return re.search(r" at 0x[0-9a-f]+>", str(thing)) is not None


def _code(function: Any) -> list[object]:
    """A function's code, with the functions inside it, what it closes over, and its defaults."""
    codes: list[CodeType] = [function.__code__]
    found: list[object] = []
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        found.append([code.co_code, code.co_names, [c for c in code.co_consts if not isinstance(c, CodeType)]])
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    return [found, list(map(_plain, closed)), list(map(_plain, function.__defaults__ or ()))]


def _values(thing: object) -> list[object]:
    return [[name, _plain(value)] for name, value in sorted(getattr(thing, "__dict__", {}).items())]


def _plain(value: Any) -> object:
    return transform_fingerprint(value) if callable(value) or _by_address(value) else value


def _feed(hasher: Any, part: object) -> None:
    if isinstance(part, Tensor):
        flat = part.detach().cpu().contiguous()
        _feed(hasher, f"{flat.dtype}{tuple(flat.shape)}")
        data = memoryview(flat.flatten().view(torch.uint8).numpy()) if flat.numel() else b""
    elif isinstance(part, list | tuple):
        _feed(hasher, f"sequence of {len(part)}")
        for entry in part:
            _feed(hasher, entry)
        return
    elif isinstance(part, bytes):
        data = part
    else:
        data = (part if isinstance(part, str) else repr(part)).encode()
    hasher.update(len(data).to_bytes(8, "big"))  # the length first: ("a", "bc") is not ("ab", "c")
    hasher.update(data)
