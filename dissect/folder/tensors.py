"""Tensors on disk, written whole, under the hash of everything they were made from."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from competition_layers.files import write_file

FORMAT = 2  # of the dissection folder and of every file in it


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, key: str) -> None:
    """Write `tensors` whole or not at all, remembering the `key` they were made under."""
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with write_file(path) as temporary:
        # by way of bytes: safetensors' own files are private whatever the umask, under temporary names of its own
        temporary.write_bytes(save(kept, metadata={"key": _stamp(key)}))


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
    return _mark(path) == _stamp(key)


def is_stamped(path: Path) -> bool:
    """Whether `save_tensors` wrote `path`, under whatever key."""
    return _mark(path).startswith("format ")


def _mark(path: Path) -> str:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("key", "")
    except (FileNotFoundError, SafetensorError):
        return ""


def _stamp(key: str) -> str:
    """The format and the key as one entry: safetensors writes several in an order that differs from run to run."""
    return f"format {FORMAT}, {key}"
