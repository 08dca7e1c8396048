"""What two benchmarks share: a small ResNet at 32 px whose last units compete, and its twins, trained by a plain loop.

The four networks differ in one layer, the activation of the units that the answer is read from (one set of units at
each of 4 x 4 places, the answer is the mean of their votes); backbone, data, batches and recipe are the same.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from decision import TopK
from torch import Tensor, nn

from competition_layers import DecisionLayer, StochasticLWTA, balance_loss, create_model, seed_noise

PLAN = {
    "layers": (1, 1, 1, 1),
    "channels": (16, 24, 32, 48),
    "stem_type": "deep",
    "stem_width": 8,
    "output_stride": 8,
}
UNITS, COMPETITORS = 64, 16
LAYER = DecisionLayer(UNITS, COMPETITORS, at="positions", noise_scale=0.3)
KINDS = ("competing", "ReLU", "top-k", "GELU")


def build(kind: str, labels: tuple[str, ...], seed: int) -> nn.Module:
    """An untrained network of a kind; with one seed all kinds start from the same weights."""
    torch.manual_seed(seed)
    model = create_model(
        "resnet18",
        competitors=1,
        image_size=32,
        num_classes=len(labels),
        label_names=labels,
        include="layer4.0.act2",
        decision=LAYER,
        **PLAN,
    )
    twins = {"ReLU": nn.ReLU(), "top-k": TopK(UNITS // COMPETITORS), "GELU": nn.GELU()}
    if kind in twins:
        model.decision = twins[kind]
    seed_noise(model, seed)
    return model


def train(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, seed: int, lr: float = 4e-3) -> nn.Module:
    """AdamW, one cycle, batches of 64, mirrored at random; the competing layer with its balance term."""
    heard: list[Tensor] = []
    handle = model.decision.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    steps = epochs * math.ceil(len(x) / 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    model.train()
    for batch, mirrored in _batches(len(x), epochs, seed):
        pictures = torch.where(mirrored[:, None, None, None], x[batch].flip(-1), x[batch])
        heard.clear()
        loss = F.cross_entropy(model(pictures), y[batch])
        if isinstance(model.decision, StochasticLWTA):
            loss = loss + balance_loss(heard[0], model.decision.groups)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    handle.remove()
    return model.eval()


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> Tensor:
    """The logits, batch by batch."""
    return torch.cat([model(part) for part in x.split(256)])


def _batches(size: int, epochs: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(size, generator=generator)
        for batch in order.split(64):
            yield batch, torch.rand(len(batch), generator=generator) < 0.5
