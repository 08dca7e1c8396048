"""Decision layers fitted on features that are computed already, one or several at once."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import DecisionHead, DecisionLayer
from competition_layers.checks import check_number

from .stack import Stack, Unstacked


@dataclass(frozen=True)
class Fitting:
    """How layers are fitted: AdamW, a short warm-up, then a cosine to 0.

    Args:
        epochs: passes over the features.
        batch_size, lr, weight_decay, label_smoothing: as ever.
        seed: of the order, the initial weights and the noise.

    Raises:
        ValueError: a number out of bounds.
    """

    epochs: int = 20
    batch_size: int = 256
    lr: float = 3e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self):
        check_number("epochs", self.epochs, least=1)
        check_number("batch_size", self.batch_size, least=1)
        check_number("lr", self.lr, least=0)
        check_number("weight_decay", self.weight_decay, least=0)
        check_number("label_smoothing", self.label_smoothing, least=0, most=1)
        check_number("seed", self.seed, least=0, most=2**32 - 1)


def fit_decision(
    features: Tensor,
    labels: Tensor,
    decision: DecisionLayer = DecisionLayer(),  # noqa: B008
    *,
    classes: int | None = None,
    fitting: Fitting = Fitting(),
) -> DecisionHead:
    """A decision layer trained on features, in evaluation mode.

    Args:
        features: pooled [images, features], or with places [images, *places, features] for `at="positions"`.
        labels: a class number an image.
        classes: by default one more than the largest label.

    Raises:
        ValueError: features and labels that do not go together, or features of the wrong number of axes.

    `add_decision(backbone, decision, head=...)` puts it behind the backbone that gave the features. Whether it is
    this one, or another with as many features, cannot be told from tensors.
    """
    return fit_decisions(features, labels, [decision], classes=classes, fitting=fitting)[0]


def fit_decisions(
    features: Tensor,
    labels: Tensor,
    decisions: Sequence[DecisionLayer],
    *,
    classes: int | None = None,
    fitting: Fitting = Fitting(),
) -> list[DecisionHead]:
    """Several decision layers at once, from the start and on the batches that each would have alone.

    Those with as many competitors are computed side by side: a step costs hardly more than one layer's. Twins
    (`DecisionLayer.activation`) are computed one by one.
    """
    classes = checked_classes(features, labels, classes)
    for decision in decisions:
        _check_places(features, decision)
    heads = []
    for decision in decisions:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fitting.seed)
            heads.append(DecisionHead(features.shape[-1], classes, decision).to(features.device))
    alike: dict[object, list[DecisionHead]] = {}
    for head in heads:
        if head.options.activation == "competition":
            alike.setdefault((head.options.competitors, head.options.temperature), []).append(head)
    stacks = [Stack(group, fitting.seed) for group in alike.values()]
    alone = [Unstacked(head) for head in heads if head.options.activation != "competition"]
    fitted: list[Stack | Unstacked] = [*stacks, *alone]

    def loss(x: Tensor, batch: Tensor) -> Tensor:
        target = F.one_hot(labels[batch], classes).float()
        target = target.lerp(torch.full_like(target, 1 / classes), fitting.label_smoothing)
        return torch.stack([each.loss(x, target) for each in fitted]).sum()

    def project() -> None:
        for each in fitted:
            each.project()

    parameters = [p for each in fitted for p in each.parameters()]
    mean, std = minimise(loss, parameters, features, fitting, project=project)
    for stack in stacks:
        stack.write_back()
    for head in heads:
        head.decision_features.mean, head.decision_features.std = mean, std
    return [head.eval() for head in heads]


def minimise(
    loss: Callable[[Tensor, Tensor], Tensor],
    parameters: Sequence[nn.Parameter],
    features: Tensor,
    fitting: Fitting,
    *,
    project: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """The loop: `loss` of a batch of standardised features and its images' numbers, made small; `project` after a step.

    Modules that share no parameter may be trained on the sum of their losses: each gets its own gradient.

    Returns:
        Mean and standard deviation of the features.
    """
    mean, std = moments(features.split(4096))
    optimizer = torch.optim.AdamW(parameters, lr=fitting.lr, weight_decay=fitting.weight_decay, fused=True)
    steps = fitting.epochs * math.ceil(len(features) / fitting.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_lr(step / steps))
    for batch in _batches(len(features), fitting):
        optimizer.zero_grad()
        loss((features[batch].float() - mean) / std, batch).backward()
        optimizer.step()
        project()
        schedule.step()
    return mean, std


@torch.no_grad()
def logits_of(head: nn.Module, features: Tensor, *, batch_size: int = 1024) -> Float[Tensor, "images classes"]:
    """The answers of a trained layer, in batches."""
    return torch.cat([head(part.float()) for part in features.split(batch_size)])


def checked_classes(features: Tensor, labels: Tensor, classes: int | None) -> int:
    """The number of classes.

    Raises:
        ValueError: other numbers of features and labels, or labels that are no classes.
    """
    for what, value in (("features", features), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise ValueError(f"Expected {what} as a tensor but got {type(value).__name__}: torch.as_tensor({what})")
    if features.ndim < 2 or not features.numel() or not features.is_floating_point():
        raise ValueError(
            "Expected features [images, features] or [images, *places, features] of floating point but got "
            f"{list(features.shape)} of {features.dtype}"
        )
    if len(features) != len(labels):
        raise ValueError(
            f"Expected as many features as labels but got shapes {list(features.shape)} and {list(labels.shape)}"
        )
    if labels.ndim != 1 or labels.dtype != torch.long:
        raise ValueError(
            f"Expected one class number an image (torch.long) but got labels {list(labels.shape)} of {labels.dtype}"
        )
    for part, first in zip(features.split(4096), range(0, len(features), 4096), strict=True):
        broken = ~part.isfinite().flatten(1).all(1)
        if broken.any():
            image = first + int(broken.nonzero()[0])
            raise ValueError(f"Expected finite features but got those of image {image} with NaN or infinity")
    least, most = int(labels.min()), int(labels.max())
    classes = most + 1 if classes is None else classes
    if least < 0 or most >= classes:
        do = f"classes={most + 1}, or other labels" if least >= 0 else "count classes from 0"
        raise ValueError(f"Expected labels from 0 to {classes - 1} but got {least} to {most}: {do}")
    return classes


def moments(parts: Sequence[Tensor]) -> tuple[Float[Tensor, "features"], Float[Tensor, "features"]]:
    """Mean and standard deviation over images and places, in double precision; a constant feature has deviation 1."""
    total, squares, count = 0.0, 0.0, 0
    shift = parts[0].reshape(-1, parts[0].shape[-1])[0].double()
    for part in parts:
        flat = part.reshape(-1, part.shape[-1]).double() - shift
        total, squares, count = total + flat.sum(0), squares + flat.square().sum(0), count + len(flat)
    mean = torch.as_tensor(total / count)
    std = (torch.as_tensor(squares / count) - mean.square()).clamp_min(0).sqrt()
    return (mean + shift).float(), torch.where(std > 1e-6, std, 1.0).float()


def _check_places(features: Tensor, decision: DecisionLayer) -> None:
    pooled = features.ndim == 2
    if pooled != (decision.at == "pooled"):
        raise ValueError(
            f"Expected features of shape [images, {'features' if pooled else '*places, features'}] for "
            f"at={'pooled' if pooled else 'positions'!r} but got {list(features.shape)} for at={decision.at!r}"
        )


def _batches(size: int, fitting: Fitting) -> Iterator[Tensor]:
    for epoch in range(fitting.epochs):
        generator = torch.Generator().manual_seed(fitting.seed * 100_003 + epoch)
        yield from torch.randperm(size, generator=generator).split(fitting.batch_size)


def _share_of_lr(time: float) -> float:
    return min(1.0, 20 * time + 1e-3) * 0.5 * (1 + math.cos(math.pi * min(1.0, time)))
