"""What two benchmarks share: a small ResNet at 32 px whose decision is made by units, of several kinds.

The last map of the ResNet has 4 x 4 places of 48 features. At each place stand 64 units; the answer is the mean over
places of their votes. The kinds differ in their activation alone: units compete in groups of 16, ReLU, top-k with as
many active, GELU; "features" are the 48 features themselves.

Frozen: one dense backbone, trained with its own linear head, and every kind on its features; there "L1" is a linear
head with five weights a class. Through: a network for
each kind, trained from its start, with the same activation between the two convolutions of its blocks (eight compete,
one of eight passes; the residual stream stays as it is); "L1" is the ReLU network with a penalty on what its units say.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from decision import fit_linear, linear_head, sparse_heads
from torch import Tensor, nn

from competition_layers import (
    Competition,
    DecisionHead,
    DecisionLayer,
    activation_sites,
    balance_loss,
    create_model,
    seed_noise,
    swap_activations,
)
from competition_layers.competition import Activation
from lwta.demo_networks import MODEL_ARGS
from training.decision.fitting import Fitting, fit_decisions

PLAN = MODEL_ARGS | {"channels": (16, 24, 32, 48), "stem_width": 8}  # the demo's, half as wide
LAYER = DecisionLayer(64, 16, at="positions", noise_scale=0.3, focus=0.0)
KINDS = ("competing", "top-k", "ReLU", "GELU", "features", "L1")
THROUGH = ("competing", "top-k", "ReLU", "GELU", "L1")
ACTIVATIONS: dict[str, Activation] = {
    "competing": "competition",
    "top-k": "topk",
    "ReLU": "relu",
    "GELU": "gelu",
    "L1": "relu",
}
INSIDE = 8  # competitors in a block
FEW = 1e-3  # of L1 on frozen features, on its weights
PENALTY = 0.01  # of L1 trained through, on the sum over units of what they say at a place


class Network(nn.Module):
    """A backbone and units on its features: pixels in, logits out."""

    def __init__(self, backbone: nn.Module, head: DecisionHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone.forward_features(x).flatten(2).transpose(1, 2))


def frozen_networks(x: Tensor, y: Tensor, labels: tuple[str, ...], *, epochs: int, seed: int) -> dict[str, Network]:
    """Every kind of units on one backbone."""
    backbone = _backbone(labels, seed).to(x.device)
    _train(backbone, x, y, epochs, seed)
    heads = fitted_heads(features_of(backbone, x), y, len(labels), seed=seed)
    return {kind: Network(backbone, heads[kind]).eval() for kind in KINDS}


def through_network(kind: str, x: Tensor, y: Tensor, labels: tuple[str, ...], *, epochs: int, seed: int) -> Network:
    """A network of one kind, trained from its start; with 0 epochs as it starts."""
    backbone, width = _backbone(labels, seed), PLAN["channels"][-1]
    sites = activation_sites(backbone, include="layer*.act1")
    competition = Competition(noise_scale=0, activation=ACTIVATIONS[kind])
    swap_activations(backbone, INSIDE, sites=sites, competition=competition)
    head = DecisionHead(width, len(labels), replace(LAYER, activation=ACTIVATIONS[kind]))
    network, seen = Network(backbone, head).to(x.device), []
    seed_noise(network, seed)
    handle = head.decision.register_forward_hook(lambda layer, inputs, said: seen.append((inputs[0], said)))

    def beside() -> Tensor | float:
        h, said = seen.pop()
        if kind == "competing":
            return LAYER.balance * balance_loss(h, head.decision.groups)
        return PENALTY * said.abs().sum(-1).mean() if kind == "L1" else 0.0

    _train(network, x, y, epochs, seed, beside)
    handle.remove()
    return network.eval()


def _backbone(labels: tuple[str, ...], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = create_model("resnet18", competitors=1, image_size=32, num_classes=len(labels), label_names=labels, **PLAN)
    return model.to(memory_format=torch.channels_last)


def _train(
    model: nn.Module, x: Tensor, y: Tensor, epochs: int, seed: int, beside: Callable[[], Tensor | float] = lambda: 0.0
) -> None:
    """AdamW, one cycle, batches of 64, mirrored at random; `beside` is added to the cross-entropy."""
    if not epochs:
        return
    model.train()
    steps, lr = epochs * math.ceil(len(x) / 64), 4e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    for pictures, labels in batches(x, y, 64, epochs, seed):
        loss = F.cross_entropy(model(pictures), labels) + beside()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()


def batches(x: Tensor, y: Tensor, size: int, epochs: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures in an order drawn anew each epoch, mirrored at random, in channels-last memory, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(size):
            mirrored = (torch.rand(len(batch), generator=generator) < 0.5).to(x.device)
            chosen = x[batch.to(x.device)]
            pictures = torch.where(mirrored[:, None, None, None], chosen.flip(-1), chosen)
            yield pictures.contiguous(memory_format=torch.channels_last), y[batch.to(y.device)]


@torch.no_grad()
def features_of(backbone: nn.Module, x: Tensor) -> Tensor:
    """Images x places x features."""
    return torch.cat([backbone.forward_features(part).flatten(2).transpose(1, 2) for part in x.split(256)])


def fitted_heads(
    features: Tensor, labels: Tensor, classes: int, *, seed: int, epochs: int = 20
) -> dict[str, DecisionHead]:
    """Every kind of units, by the same recipe on the same batches."""
    width, fitting = features.shape[-1], Fitting(epochs=epochs, batch_size=128, seed=seed)
    kinds = ("competing", "top-k", "ReLU", "GELU")
    layers = [replace(LAYER, activation=ACTIVATIONS[kind]) for kind in kinds]
    fitted = fit_decisions(features, labels, layers, classes=classes, fitting=fitting)
    split = {"train": features, "train_labels": labels}
    torch.manual_seed(seed)
    linear = linear_head(width, classes, LAYER).to(features.device)
    fit_linear([linear], split, fitting)
    (few,) = sparse_heads(split, classes, [FEW], fitting)
    return {**dict(zip(kinds, fitted, strict=True)), "features": linear, "L1": few}
