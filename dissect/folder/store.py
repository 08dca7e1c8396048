"""What was computed, on disk: tensors written whole under the hash of everything they were made from."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from competition_layers.files import write_file

FORMAT = 2  # of the dissection folder and of every file in it


def digest(*parts: object) -> str:
    """A content hash of strings, bytes, tensors and nested sequences of them; anything else by its `repr`.

    >>> digest("a", "bc") == digest("ab", "c")
    False
    """
    hasher = hashlib.sha256()
    for part in parts:
        _feed(hasher, part)
    return hasher.hexdigest()[:32]


def model_fingerprint(model: nn.Module) -> str:
    """The hash of a network: its modules with their settings (so a competition's rule counts), how it was built, and
    all its weights."""
    spec = getattr(model, "lwta", None)
    built = [getattr(spec, "architecture", ""), dict(getattr(spec, "model_args", {}))]
    # as JSON: a network that was saved and loaded has lists where it had tuples
    return digest(repr(model), json.dumps(built, sort_keys=True, default=str), sorted(model.state_dict().items()))


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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, key: str) -> None:
    """Write `tensors` whole or not at all, remembering the `key` they were made under."""
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with write_file(path) as temporary:
        save_file(kept, temporary, metadata={"key": _stamp(key)})


def load_tensors(path: Path, *, key: str | None = None) -> dict[str, Tensor] | None:
    """What `save_tensors` wrote; `None` if there is no such file, it is unreadable, or its key is not `key`."""
    try:
        with safe_open(path, framework="pt") as file:
            if key is not None and (file.metadata() or {}).get("key") != _stamp(key):
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a safetensors file is no dict)
    except (FileNotFoundError, SafetensorError):
        return None


def holds(path: Path, key: str) -> bool:
    """Whether `path` is a whole file of `save_tensors` under `key`; reads its header alone."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("key") == _stamp(key)
    except (FileNotFoundError, SafetensorError):
        return False


def _stamp(key: str) -> str:
    """The format and the key as one entry: safetensors writes several in an order that differs from run to run."""
    return f"format {FORMAT}, {key}"


def _by_address(thing: object) -> bool:
    return re.search(r" at 0x[0-9a-f]+>", str(thing)) is not None


def _code(function: Any) -> list:
    """A function's code, with the functions inside it, what it closes over, and its defaults."""
    codes, found = [function.__code__], []
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        found.append([code.co_code, code.co_names, [c for c in code.co_consts if not isinstance(c, CodeType)]])
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    return [found, list(map(_plain, closed)), list(map(_plain, function.__defaults__ or ()))]


def _values(thing: object) -> list:
    return [[name, _plain(value)] for name, value in sorted(getattr(thing, "__dict__", {}).items())]


def _plain(value: object) -> object:
    return transform_fingerprint(value) if callable(value) or _by_address(value) else value


def _feed(hasher, part: object) -> None:
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
