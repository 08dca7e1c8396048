"""Name the ten class units of a CIFAR-10 ResNet-20 from real CLIP embeddings, and count how many names are right.

    python benchmarks/class_units.py [--data DIR] [--quick]

The network is He et al.'s (2016, sec. 4.2) with published weights; probe: 500 lossless CIFAR-10 test images with CLIP
ViT-B/32 embeddings; concepts: the 1,203 LVIS names. Which names count as right stands in
tests/end_to_end/accepted_class_names.csv, by one rule over all 1,203: the class or a kind of it; `strict` is the
class itself (LVIS has no "ship", so 9 is the most). Images 0 to 249 are for choices, 250 to 499 for final figures
only. The control shuffles the images, 20 times.
"""

import argparse
import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from dissect import (
    DEFAULT_SIMILARITY,
    LayerRecord,
    Naming,
    Space,
    load_concepts,
    load_encoder,
    name_units,
    open_probe,
    record_activations,
)

REPOSITORY = Path(__file__).resolve().parent.parent
ACCEPTED = REPOSITORY / "tests" / "end_to_end" / "accepted_class_names.csv"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = {"all 500 images": slice(0, 500), "development (0-249)": slice(0, 250), "final (250-499)": slice(250, 500)}


class SmallResNet(nn.Module):
    """He et al.'s CIFAR-10 ResNet with 6n+2 layers and shortcuts without weights (their option A)."""

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(_Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(*(_Block(16 if i == 0 else 32, 32, 2 if i == 0 else 1) for i in range(n)))
        self.layer3 = nn.Sequential(*(_Block(32 if i == 0 else 64, 64, 2 if i == 0 else 1) for i in range(n)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - width_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(y + shortcut)


@dataclass(frozen=True)
class Score:
    """How many of the ten names are accepted, how many are the class itself (or its common synonym), and the names."""

    accepted: int
    strict: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """The class units' logits on the probe images, and the images and names in CLIP's space."""

    logits: Tensor
    space: Space
    accuracy: float


def gather(data: Path) -> Evidence:
    """Record the class units and read the embeddings."""
    file = data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors"
    probe, encoder = open_probe(file), load_encoder(file)
    concepts = load_concepts(data / "clip-text" / "lvis1203.txt")
    record = record_activations(load_resnet20(data), probe, "linear", summaries=["mean"], transform=to_input)["linear"]
    logits = record.summaries["mean"]
    right = logits.argmax(1) == torch.tensor([int(label) for label in probe.labels])
    space = Space(encoder.encode_images(probe), encoder.encode_texts(concepts), concepts.names)
    return Evidence(logits, space, right.float().mean().item())


def judge(evidence: Evidence, rows: slice | Tensor, *, similarity: str, shuffle: int | None = None) -> Score:
    """Name the units on these images and count; `shuffle` seeds a random pairing of activations with pictures."""
    logits, images = evidence.logits[rows], evidence.space.image_embeddings[rows]
    if shuffle is not None:
        images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(shuffle))]
    space = Space(images, evidence.space.concept_embeddings, evidence.space.names)
    named = name_units(LayerRecord("linear", {"mean": logits}), "mean", space, Naming(similarity))
    return count([unit.description for unit in named])


def count(names: Sequence[str]) -> Score:
    """Hold the ten names against the list."""
    with ACCEPTED.open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    pairs = list(zip(CLASSES, names, strict=True))
    accepted = sum(name in rows[label]["accepted"].split("; ") for label, name in pairs)
    return Score(accepted, sum(bool(name) and name == rows[label]["strict"] for label, name in pairs), tuple(names))


def control(evidence: Evidence, rows: slice, *, similarity: str, shuffles: int = 20) -> tuple[float, float]:
    """The mean of accepted and strict names over shuffled images: what chance and the word list give."""
    scores = [judge(evidence, rows, similarity=similarity, shuffle=seed) for seed in range(shuffles)]
    return sum(s.accepted for s in scores) / shuffles, sum(s.strict for s in scores) / shuffles


def find_data(given: str | None = None) -> Path:
    """The shared data: as given, as LWTA_SHARED_DATA says, or beside the checkout."""
    return Path(given or os.environ.get("LWTA_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")


def load_resnet20(data: Path) -> nn.Module:
    """The network with its published weights."""
    model = SmallResNet()
    model.load_state_dict(load_file(data / "cifar10-resnets" / "resnet20.safetensors"), strict=False)
    return model.eval()


def to_input(image: Image.Image) -> Tensor:
    """RGB / 255 with ImageNet's mean and deviation, as the weights were trained."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(np.array(image)) / 255 - mean) / std).permute(2, 0, 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--similarity", nargs="+", default=[DEFAULT_SIMILARITY])
    parser.add_argument("--quick", action="store_true", help="all 500 images only")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    evidence = gather(data)
    print(f"ResNet-20 on the 500 lossless images: {evidence.accuracy:.1%} right")
    print(f"{'similarity':16} {'images':22} accepted  strict  shuffled (20): accepted  strict")
    for similarity in options.similarity:
        for split, rows in list(SPLITS.items())[: 1 if options.quick else None]:
            score, chance = judge(evidence, rows, similarity=similarity), control(evidence, rows, similarity=similarity)
            found = f"{score.accepted:5}/10 {score.strict:4}/10"
            print(f"{similarity:16} {split:22} {found} {chance[0]:22.2f} {chance[1]:7.2f}")
            print(f"    {', '.join(f'{label}: {name}' for label, name in zip(CLASSES, score.names, strict=True))}")


if __name__ == "__main__":
    main()
