"""One pass over the probe images: each picture is decoded once, however many networks look at it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from pictures.opening import THREADS

from .probe_images import ProbeImages

Transform = Callable[[Image.Image], Tensor]
Run = TypeVar("Run", bound=Sequence[int])


class Indexed(Protocol):
    """Pictures by their places."""

    def __getitem__(self, place: int, /) -> Image.Image: ...


def batches(probe: ProbeImages, transform: Transform, *, batch_size: int) -> Iterator[Tensor]:
    """The transformed images in order, stacked."""
    runs = [range(at, min(at + batch_size, len(probe))) for at in range(0, len(probe), batch_size)]
    return (x for _, (x,) in shared_batches(probe, [transform], runs))


def shared_batches(
    probe: Indexed, transforms: Sequence[Transform], runs: Iterable[Run]
) -> Iterator[tuple[Run, list[Tensor]]]:
    """For each run of images the stacked inputs of several networks, made from the same decoded pictures.

    Threads read the next run while the caller works on this one.
    """

    def inputs(i: int) -> list[Tensor]:
        image = probe[i]
        return [transform(image) for transform in transforms]

    with ThreadPoolExecutor(THREADS) as pool:
        ahead = None
        for run in [*runs, None]:
            submitted = None if run is None else (run, [pool.submit(inputs, i) for i in run])
            if ahead is not None:
                made = [future.result() for future in ahead[1]]
                yield ahead[0], [torch.stack(parts) for parts in zip(*made, strict=True)]
            ahead = submitted
