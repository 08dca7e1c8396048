"""What switching a unit off costs each class: accuracy with the unit and without (Zhao et al. 2024, zero-ablation)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from competition_layers.attribution import logits_without

from ..probe.passes import batches
from ..recording.subject import label_names
from .describer import Probed

IMAGES = 128  # evenly spread over the choosing half: a pass for each unit and 64 of them


@dataclass(frozen=True)
class ClassLoss:
    """What a class loses when a unit is switched off: of its `images` the share answered rightly, and without it."""

    label: str
    images: int
    accuracy: float
    without: float


@dataclass(frozen=True)
class ClassAblation:
    """Of each class the images looked at and the share that is answered rightly, and that share without each unit (NaN
    for classes without an image)."""

    images: Int[Tensor, "classes"]
    accuracy: Float[Tensor, "classes"]
    without: Float[Tensor, "units classes"]

    def tensors(self) -> dict[str, Tensor]:
        """As a dissection keeps them."""
        return {"class_images": self.images, "class_accuracy": self.accuracy, "class_accuracy_without": self.without}

    @classmethod
    def from_tensors(cls, kept: Mapping[str, Tensor], *, units: int, classes: int) -> "ClassAblation | None":
        """What `tensors` gave; None where nobody looked, or at something else."""
        shapes = {"class_images": (classes,), "class_accuracy": (classes,), "class_accuracy_without": (units, classes)}
        found = [kept[name] for name, shape in shapes.items() if name in kept and kept[name].shape == shape]
        return cls(*found) if len(found) == len(shapes) else None

    def losses(self, unit: int, labels: Sequence[str]) -> list[ClassLoss]:
        """The classes that lose images without a unit, the largest loss first; `labels` are the classes' names."""
        lost = (self.accuracy - self.without[unit]).nan_to_num(nan=0.0) * self.images
        order = [c for c in lost.argsort(descending=True, stable=True).tolist() if lost[c] > 0.5]
        rows = (labels, self.images.tolist(), self.accuracy.tolist(), self.without[unit].tolist())
        return [ClassLoss(*(row[c] for row in rows)) for c in order]


@torch.no_grad()
def class_ablation(probed: Probed, *, most: int = IMAGES) -> ClassAblation | None:
    """The ablation of every unit of a layer; None where the pictures or the network do not say their classes."""
    model, known = probed.reader.model, label_names(probed.reader.model)
    if not known or not probed.probe.targets or not set(probed.probe.classes) <= set(known):
        return None
    chosen = probed.halves.choosing.sort().values
    places = chosen[torch.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().long()].tolist()
    some = probed.probe.some(places)
    targets = torch.tensor(some.numbers(known))
    right = torch.zeros(probed.units + 1, len(known))
    images = torch.zeros(len(known)).index_add_(0, targets, torch.ones(len(targets)))
    done = 0
    for x in batches(some, probed.reader.transform, batch_size=probed.reader.batch_size):
        own = targets[done : done + len(x)].to(x.device)
        off = torch.zeros(len(x), probed.units, dtype=torch.bool, device=x.device)
        for unit in range(-1, probed.units):  # -1: none is off
            off[:, max(unit, 0)] = unit >= 0
            hit = logits_without(model, x, probed.layer, off).argmax(1) == own
            right[unit].index_add_(0, own.cpu(), hit.float().cpu())
            off[:, max(unit, 0)] = False
        done += len(x)
    shares = right / images
    return ClassAblation(images.long(), shares[-1], shares[:-1])
