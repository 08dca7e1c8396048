"""Robustness of one network: right answers on corrupted pictures and under attack."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor, nn

from competition_layers import competitions, predict
from competition_layers.transforms import pixel_scale

from ..probe.probe_images import ProbeImages
from ..recording.subject import default_transform
from .attack import pgd
from .corruptions import CORRUPTIONS, STRENGTHS, corrupt
from .figures import Attack, Robustness
from .measuring import inputs_of

IMAGES = 500  # evenly spread, where there are more
EPSILON = 2 / 255


def measure_robustness(
    model: nn.Module, data: ProbeImages, targets: Int[Tensor, "images"], *, batch_size: int = 64, draws: int = 8
) -> Robustness:
    """Accuracy by the saved rule under each corruption and strength, and under attack, on up to 500 pictures."""
    count = min(IMAGES, len(data))
    chosen = [i * len(data) // count for i in range(count)]
    some, right = data.some(chosen), targets[chosen]
    transform = default_transform(model)
    side = min(next(inputs_of(model, some, 1)).shape[-2:])

    def accuracy(name: str, strength: int) -> float:
        def corrupted(image: Image.Image) -> Tensor:
            return transform(corrupt(image, name, strength, side=side))

        generator = torch.Generator().manual_seed(0)
        passes = inputs_of(model, some, batch_size, transform=corrupted, shown_as=f"{name} {strength}")
        said = torch.cat([predict(model, x, generator=generator).argmax(1).cpu() for x in passes])
        return float((said == right).float().mean())

    return Robustness(
        images=count,
        corrupted={name: tuple(accuracy(name, 1 + s) for s in range(STRENGTHS)) for name in CORRUPTIONS},
        attack=_attacked(model, inputs_of(model, some, batch_size, shown_as="attack"), right, draws),
    )


def _attacked(model: Any, passes: Iterable[Tensor], targets: Tensor, draws: int) -> Attack | None:
    scale = pixel_scale(model)
    if scale is None:
        return None
    asked = {"argmax": 0, "sample": draws} if competitions(model) else {"argmax": 0}
    right, done = dict.fromkeys(asked, 0), 0
    for x in passes:
        here = targets[done : done + len(x)].to(x.device)
        done += len(x)
        for name, n in asked.items():
            found = pgd(model, x, here, scale, epsilon=EPSILON, draws=n)
            said = predict(model, found, samples=n, generator=torch.Generator().manual_seed(0))
            right[name] += int((said.argmax(1) == here).sum())
    shares = {name: count / done for name, count in right.items()}
    return Attack(EPSILON, draws, shares["argmax"], shares.get("sample"))
