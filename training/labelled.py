"""Pictures with the numbers of their classes, as a network learns them; or pictures alone, as it answers them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from pictures import PictureError, Pictures
from pictures.names import natural_key


class LabelledPictures:
    """(RGB picture, class number) by place: some of `pictures`, in the order of `indices`.

    By default all in the natural order of their names: what is held out by a seed stays held out when a run is resumed.
    Where `cache` is set each is decoded once and kept.
    """

    def __init__(
        self, pictures: Pictures, numbers: Sequence[int], indices: Sequence[int] | None = None, *, cache: bool = False
    ):
        if indices is None:
            indices = sorted(range(len(pictures)), key=lambda i: natural_key(pictures.names[i]))
        self.pictures, self.numbers, self.indices = pictures, numbers, list(indices)
        self.kept: dict[int, np.ndarray[Any, Any]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        index = self.indices[place]
        if self.kept is None:
            return self.pictures[index], self.numbers[index]
        if index not in self.kept:
            self.kept[index] = np.asarray(self.pictures[index])
        return Image.fromarray(self.kept[index]), self.numbers[index]

    def some(self, places: Sequence[int], *, cache: bool = False) -> "LabelledPictures":
        """Those at `places`."""
        return LabelledPictures(self.pictures, self.numbers, [self.indices[i] for i in places], cache=cache)

    def with_wrong(self, share: float, *, classes: int, seed: int) -> "LabelledPictures":
        """The same, of which a `share` has another of the `classes`, drawn evenly."""
        random, numbers = np.random.default_rng(seed), list(self.numbers)
        for place in random.permutation(len(self))[: round(share * len(self))]:
            index = self.indices[place]
            numbers[index] = (numbers[index] + int(random.integers(1, classes))) % classes
        return LabelledPictures(self.pictures, numbers, self.indices, cache=self.kept is not None)


class PlainPictures(Dataset[torch.Tensor]):
    """Pictures through `transform`; one that breaks while they are read is blank, and in `broken` with the reason."""

    def __init__(self, pictures: Pictures, transform: Any):
        self.pictures, self.transform = pictures, transform
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        try:
            return self.transform(self.pictures[index])
        except PictureError as error:
            self.broken[index] = str(error)
            return torch.zeros_like(self.transform(Image.new("RGB", (64, 64))))


def split_off(size: int, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Places kept and places held out: a share `fraction` of `size`, drawn by `seed`; both in ascending order."""
    order = np.random.default_rng(seed).permutation(size)
    held = round(size * fraction)
    return np.sort(order[held:]).tolist(), np.sort(order[:held]).tolist()
