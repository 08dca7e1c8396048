"""Small networks trained through to a decision layer or another head: what they are, how they learn and are read."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from class_units import CLASSES
from decision import figures
from small_networks import PLAN, batches
from torch import Tensor, nn

from competition_layers import (
    DecisionHead,
    DecisionLayer,
    add_decision,
    create_model,
    focus_loss,
    seed_noise,
    votes,
)
from competition_layers.metrics import deciding_units
from pictures.scenes import SCENES
from training.decision.terms import Terms


@dataclass(frozen=True)
class Network:
    """A backbone, the side of its pictures, and how it is trained."""

    backbone: str
    model_args: dict
    side: int
    epochs: int
    batch: int
    lr: float
    label_names: tuple[str, ...] = CLASSES


WIDE = PLAN | {"layers": (2, 2, 2, 2), "channels": (32, 64, 128, 256), "stem_width": 16}
VIT = {"patch_size": 4, "embed_dim": 48, "depth": 3, "num_heads": 2}
NETWORKS = {
    "resnet": Network("resnet18", PLAN, 32, 4, 64, 4e-3),
    "vit": Network("vit_tiny_patch16_224", VIT, 32, 4, 64, 2e-3),
    "scenes": Network("resnet18", PLAN, 32, 8, 64, 4e-3, tuple(SCENES)),
}
LONG = {
    "resnet": Network("resnet18", WIDE, 64, 10, 256, 3e-3),
    "vit": Network("vit_tiny_patch16_224", VIT | {"embed_dim": 128, "depth": 6, "num_heads": 4}, 32, 16, 256, 2e-3),
    "scenes": Network("resnet18", PLAN, 64, 30, 256, 4e-3, tuple(SCENES)),
}


def build(network: Network, head: DecisionLayer | Callable[[int, int], DecisionHead], seed: int) -> nn.Module:
    """The network at its start: the backbone is the same for every head."""
    torch.manual_seed(seed)
    classes = {"num_classes": len(network.label_names), "label_names": network.label_names}
    options = {**classes, "image_size": network.side, "competitors": 1, **network.model_args}
    if isinstance(head, DecisionLayer):
        model = create_model(network.backbone, decision=head, **options)
        seed_noise(model, seed)
        return model
    model = create_model(network.backbone, **options)
    made = head(model.num_features, model.num_classes)
    add_decision(model, made.options, head=made)
    model.decision = made.decision
    return model


class FocusOfVotes(Terms):
    """The same terms, but the focus moves the votes alone: what the units said is given."""

    def _focus(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layer.training:
            self.left["focus"] = focus_loss(inputs[0].detach(), output, layer.weight)


def train(
    network: Network,
    head: DecisionLayer | Callable,
    split: dict[str, Tensor],
    seed: int,
    *,
    terms_of: type[Terms] = Terms,
) -> nn.Module:
    """AdamW, one cycle, mirrored at random and moved by up to an eighth, a batch at a time."""
    x, y = split["train"], split["train_labels"]
    model = build(network, head, seed).to(x.device, memory_format=torch.channels_last).train()
    terms = terms_of(model, head) if isinstance(head, DecisionLayer) else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=network.lr, weight_decay=0.05, fused=True)
    steps = network.epochs * math.ceil(len(x) / network.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, network.lr, total_steps=steps, pct_start=0.2)
    far = x.shape[-1] // 8
    generator = torch.Generator().manual_seed(seed)
    for images, labels in batches(x, y, network.batch, network.epochs, seed):
        down, right = torch.randint(-far, far + 1, (2,), generator=generator).tolist()
        moved = F.pad(images, (right, -right, down, -down))
        loss = F.cross_entropy(model(_resized(moved, network.side)), labels)
        if terms:
            loss = loss + terms.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def read(model: nn.Module, split: dict[str, Tensor], which: str, side: int) -> dict[str, float]:
    """The figures of `decision.py`, and how many winners at places carry 90 % of the lead."""
    x = _resized(split[which], side)
    found = votes(model, x[:2000])
    first, second = found.logits.topk(2, dim=1).indices.unbind(1)
    winners = deciding_units(found.to_lead(first, second).flatten(1), share=0.9).sum(1)
    return figures(model, x, split[f"{which}_labels"]) | {"winners": winners.float().median().item()}


def _resized(x: Tensor, side: int) -> Tensor:
    return x if x.shape[-1] == side else F.interpolate(x, size=side, mode="bilinear")
