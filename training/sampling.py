"""Which images a network sees and how they are augmented: a function of (seed, epoch, image), of nothing else.

So the dense twin and the sparse network see the same pixels, any number of workers gives the same batches, and a
resumed run goes on as if it had never stopped.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from competition_layers.terminal import plain
from pictures import PictureError

NOT_COUNTED = -100  # the label of an image drawn a second time to fill up: losses and metrics leave it out
_IN_A_ROW = 20  # pictures that break one after another: their disk is gone


@dataclass(frozen=True)
class Draw:
    """One image of one epoch: its index, the seed of its augmentation, whether it counts."""

    index: int
    seed: int
    counts: bool = True


class EpochSampler(Sampler[Draw]):
    """The images of an epoch in an order drawn from (seed, epoch); each rank takes every `ranks`-th.

    With several ranks a few images are drawn twice at the end, so that all ranks take as many steps; in evaluation
    (`shuffle=False`) these do not count.
    """

    def __init__(self, size: int, *, seed: int, shuffle: bool, rank: int = 0, ranks: int = 1):
        self.size, self.seed, self.shuffle, self.rank, self.ranks = size, seed, shuffle, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, self.epoch])))
        order = generator.permutation(self.size) if self.shuffle else np.arange(self.size)
        seeds = generator.integers(2**31, size=self.size)
        padded = np.resize(np.arange(self.size), len(self) * self.ranks)
        for turn in range(self.rank, len(padded), self.ranks):
            place = padded[turn]
            yield Draw(int(order[place]), int(seeds[place]), counts=self.shuffle or turn < self.size)

    def __len__(self) -> int:
        return -(-self.size // self.ranks)


class SeededDataset(Dataset[tuple[torch.Tensor, int]]):
    """`images` (pairs of picture and label) through `transform`, its generators seeded by the draw.

    In place of a picture that breaks while it is read comes, where `skip_bad` is set, the next one that can be read: in
    training (`replace_bad`) with its label, in evaluation not counted.
    """

    def __init__(
        self,
        images: Sequence[tuple[Any, int]],
        transform: Any,
        *,
        skip_bad: bool = False,
        replace_bad: bool = True,
    ):
        self.images, self.transform, self.skip_bad, self.replace_bad = images, transform, skip_bad, replace_bad

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw | int) -> tuple[torch.Tensor, int]:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[Draw | int]) -> list[tuple[torch.Tensor, int]]:
        """Those of a batch, as torch's loaders ask for them."""
        made = []
        with _generators_kept():
            for draw in draws:
                if isinstance(
                    draw, int
                ):  # Lightning's overfit_batches has a sampler of its own: the same pixels each time
                    draw = Draw(draw, seed=draw)
                image, label = self._readable(draw.index)
                _seed(draw.seed)
                made.append((self.transform(image), label if draw.counts else NOT_COUNTED))
        return made

    def _readable(self, index: int) -> tuple[Any, int]:
        for further in range(_IN_A_ROW):
            try:
                image, label = self.images[(index + further) % len(self)]
            except PictureError as error:
                if not self.skip_bad or further == _IN_A_ROW - 1:
                    raise
                print(f"skipped in this epoch: {plain(error)}", flush=True)
            else:
                return image, label if self.replace_bad or not further else NOT_COUNTED
        raise AssertionError("returned or raised before")


@contextmanager
def _generators_kept() -> Iterator[None]:
    """After the block python's, numpy's and torch's generators go on as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that would seed the accelerators too, for good
