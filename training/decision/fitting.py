"""Decision layers fitted on features that are computed already, one or several at once."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import DecisionHead, DecisionLayer, StochasticLWTA, balance_loss, seed_noise

from ..checks import check_number

Head = TypeVar("Head", bound=nn.Module)


@dataclass(frozen=True)
class Fitting:
    """How layers are fitted: AdamW, a short warm-up, then a cosine to 0.

    Args:
        epochs: passes over the features.
        batch_size, lr, weight_decay, label_smoothing: as ever.
        seed: of the order, the initial weights and the noise.
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

    `add_decision(backbone, decision, head=...)` puts it behind the backbone that gave the features.
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
    """Several decision layers at once, as `fit_decision` would train each: features are read once for all of them."""
    classes = checked_classes(features, labels, classes)
    for decision in decisions:
        pooled = features.ndim == 2
        if pooled != (decision.at == "pooled"):
            raise ValueError(
                f"Expected features of shape [images, {'features' if pooled else '*places, features'}] for "
                f"at={'pooled' if pooled else 'positions'!r} but got {list(features.shape)} for at={decision.at!r}"
            )
    heads = []
    for decision in decisions:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fitting.seed)
            heads.append(DecisionHead(features.shape[-1], classes, decision))
    return fit_heads(heads, features, labels, fitting)


def fit_heads(
    heads: list[Head],
    features: Tensor,
    labels: Tensor,
    fitting: Fitting,
    *,
    penalty: Callable[[Head], Tensor] | None = None,
) -> list[Head]:
    """Train modules with the parts of a `DecisionHead`, in place; they share one map of the features."""
    mean, std = moments(features.split(4096))
    device = features.device
    for head in heads:
        seed_noise(head, fitting.seed)
        head.decision_features.mean, head.decision_features.std = mean, std
        head.to(device).train()
    parameters = [p for head in heads for p in head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=fitting.lr, weight_decay=fitting.weight_decay)
    steps = fitting.epochs * math.ceil(len(features) / fitting.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_lr(step / steps))
    for batch in _batches(len(features), fitting):
        x = (features[batch].float() - mean) / std
        target = labels[batch]
        losses = [
            _loss(head, h, target, fitting) + (0 if penalty is None else penalty(head))
            for head, h in zip(heads, _units(heads, x), strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # heads share no parameter: each gets its own gradient
        optimizer.step()
        schedule.step()
    return [head.eval() for head in heads]


@torch.no_grad()
def logits_of(head: nn.Module, features: Tensor, *, batch_size: int = 1024) -> Float[Tensor, "images classes"]:
    """The answers of a trained layer, in batches."""
    return torch.cat([head(part.float()) for part in features.split(batch_size)])


def checked_classes(features: Tensor, labels: Tensor, classes: int | None) -> int:
    """The number of classes.

    Raises:
        ValueError: other numbers of features and labels, or labels that are no classes.
    """
    if features.ndim < 2 or len(features) != len(labels) or not len(labels):
        raise ValueError(
            f"Expected as many features as labels but got shapes {list(features.shape)} and {list(labels.shape)}"
        )
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(f"Expected one class number an image but got labels {list(labels.shape)} of {labels.dtype}")
    least, most = int(labels.min()), int(labels.max())
    classes = most + 1 if classes is None else classes
    if least < 0 or most >= classes:
        raise ValueError(f"Expected labels from 0 to {classes - 1} but got {least} to {most}")
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


def _batches(size: int, fitting: Fitting) -> Iterator[Tensor]:
    for epoch in range(fitting.epochs):
        generator = torch.Generator().manual_seed(fitting.seed * 100_003 + epoch)
        yield from torch.randperm(size, generator=generator).split(fitting.batch_size)


def _share_of_lr(time: float) -> float:
    return min(1.0, 20 * time + 1e-3) * 0.5 * (1 + math.cos(math.pi * min(1.0, time)))


def _units(heads: Sequence[nn.Module], x: Tensor) -> Sequence[Tensor]:
    """The pre-activations of every layer, by one matrix product."""
    maps = [head.decision_units for head in heads]
    h = F.linear(x, torch.cat([m.weight for m in maps]), torch.cat([m.bias for m in maps]))
    return h.split([m.out_features for m in maps], -1)


def _loss(head: nn.Module, h: Tensor, target: Tensor, fitting: Fitting) -> Tensor:
    y = head.decision(h)
    logits = head.decision_votes(y if y.ndim == 2 else y.flatten(1, -2).mean(1))
    loss = F.cross_entropy(logits, target, label_smoothing=fitting.label_smoothing)
    if isinstance(head.decision, StochasticLWTA) and head.options.balance:
        loss = loss + head.options.balance * balance_loss(h, head.decision.groups)
    return loss
