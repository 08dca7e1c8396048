"""What a source says of itself before any picture is decoded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..decoding import Raw

Reasons = tuple[tuple[str, str], ...]  # (name, why) of what cannot be used


@dataclass(frozen=True)
class Place:
    """Where pictures are asked for: a path, or a name below `root`.

    `split` is a folder in a folder, or a FILE.safetensors there; a word in the names of shards; a named data set's own,
    there `validation` where none is given. `options` go to timm's `create_dataset`.
    """

    source: str
    split: str = ""
    root: str = "."
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.source}/{self.split}" if self.split else self.source


@dataclass(frozen=True)
class Listing:
    """Pictures in a fixed order, and their classes.

    `load(i)` gives picture i as the source has it; pickled, it does so in another process. `targets[i]` is its place in
    `classes`, -1 for none; no `targets` at all: `unlabelled` says why. `bad` cannot be read, `left_out` is no picture.
    `files` are the pictures' own, where each has one.
    """

    names: tuple[str, ...]
    load: Callable[[int], Raw]
    classes: tuple[str, ...] = ()
    targets: tuple[int, ...] = ()
    unlabelled: str = ""
    bad: Reasons = ()
    left_out: Reasons = ()
    files: tuple[Path, ...] = ()


def numbered(labels: list[str | None], order: list[str]) -> dict[str, tuple]:
    """`classes` and `targets` of a listing, from each picture's class, or none, and the order of the classes."""
    number = {name: place for place, name in enumerate(order)}
    return {"classes": tuple(order), "targets": tuple(-1 if label is None else number[label] for label in labels)}
