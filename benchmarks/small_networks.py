"""What two benchmarks share: a small ResNet at 32 px, and five sets of units on its frozen features.

The backbone is trained with its own linear head. On its last map (4 x 4 places, 48 features) the sets of units differ
in their activation alone: 64 units that compete in groups of 16, ReLU, top-k with as many active, GELU; the answer is
the mean over places of their votes. `features` is the network as it was trained but for the head: its own features.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from decision import TopK, dense_head, linear_head
from torch import Tensor, nn

from competition_layers import DecisionHead, DecisionLayer, create_model
from training.decision.fitting import Fitting, fit_heads

PLAN = {
    "layers": (1, 1, 1, 1),
    "channels": (16, 24, 32, 48),
    "stem_type": "deep",
    "stem_width": 8,
    "output_stride": 8,
}
LAYER = DecisionLayer(64, 16, at="positions", noise_scale=0.3)
KINDS = ("competing", "top-k", "ReLU", "GELU", "features")


def trained_backbone(x: Tensor, y: Tensor, labels: tuple[str, ...], *, epochs: int, seed: int) -> nn.Module:
    """AdamW, one cycle, batches of 64, mirrored at random."""
    torch.manual_seed(seed)
    model = create_model("resnet18", competitors=1, image_size=32, num_classes=len(labels), label_names=labels, **PLAN)
    model = model.to(memory_format=torch.channels_last).train()
    steps, lr = epochs * math.ceil(len(x) / 64), 4e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            mirrored = torch.rand(len(batch), generator=generator) < 0.5
            pictures = torch.where(mirrored[:, None, None, None], x[batch].flip(-1), x[batch])
            loss = F.cross_entropy(model(pictures.contiguous(memory_format=torch.channels_last)), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def features_of(model: nn.Module, x: Tensor) -> Tensor:
    """Images x places x features."""
    return torch.cat([model.forward_features(part).flatten(2).transpose(1, 2) for part in x.split(256)])


def fitted_heads(
    features: Tensor, labels: Tensor, classes: int, *, seed: int, epochs: int = 20
) -> dict[str, DecisionHead]:
    """Every kind of units, by the same recipe on the same batches."""
    width = features.shape[-1]
    makers = {
        "competing": partial(DecisionHead, width, classes, LAYER),
        "top-k": partial(dense_head, width, classes, LAYER, TopK(LAYER.groups)),
        "ReLU": partial(dense_head, width, classes, LAYER, nn.ReLU()),
        "GELU": partial(dense_head, width, classes, LAYER, nn.GELU()),
        "features": partial(linear_head, width, classes, LAYER),
    }
    heads = []
    for make in makers.values():
        torch.manual_seed(seed)
        heads.append(make())
    return dict(
        zip(makers, fit_heads(heads, features, labels, Fitting(epochs=epochs, batch_size=128, seed=seed)), strict=True)
    )
