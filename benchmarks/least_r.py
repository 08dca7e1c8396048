"""What a name at a given r is worth: names of trained and of random networks on photographs, and how many are right.

    python benchmarks/least_r.py [--data DIR] [--quick]

493 photos with real CLIP embeddings, 1,000 ImageNet names. Known units: the 1,000 class units of a MobileNetV2, whose
right name is their class. Hidden units: its 1,280 features. Controls: the features of a ResNet-18 with random weights,
which follow colours and edges but mean nothing, over 3 seeds (`--quick`: 1); and the class units with shuffled photos.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from class_units import find_data
from PIL import Image
from safetensors.torch import load_file
from similarity import photographs
from torch import Tensor

from dissect import LayerRecord, Naming, Space, name_verified
from dissect.naming.halves import halve
from dissect.recording.subject import default_transform

LEAST = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


@torch.no_grad()
def random_features(folder: Path, seed: int) -> Tensor:
    """Photos x 512: the pooled features of a ResNet-18 with random weights."""
    torch.manual_seed(seed)
    model = timm.create_model("resnet18", num_classes=0).eval()
    transform, files = default_transform(model), sorted(folder.iterdir())
    batches = [files[at : at + 32] for at in range(0, len(files), 32)]
    return torch.cat([model(torch.stack([transform(Image.open(f).convert("RGB")) for f in some])) for some in batches])


def row(title: str, values: Tensor, space: Space, *, known: bool = False) -> None:
    """Prints the share of units that keep their name at each least r; of known units, how many of those are right."""
    described, _ = name_verified(
        LayerRecord("units", {"mean": values}), "mean", space, halve(space.image_embeddings), Naming(least_r=0.0)
    )
    cells = []
    for least in LEAST:
        named = [unit for unit in described if unit.named and unit.evidence.predictability >= least]
        right = sum(unit.description == space.names[unit.unit] for unit in named) if known else 0
        cells.append(f"{len(named) / len(described):6.1%}" + (f" ({right / max(1, len(named)):3.0%})" if known else ""))
    print(f"{title:36} {len(described):5}  {'  '.join(cells)}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--quick", action="store_true", help="one random network")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    problem, folder = photographs(data), data / "flickr8k-dev"
    space = Space(problem.images, problem.texts, tuple((folder / "imagenet1k.txt").read_text("utf-8").splitlines()))
    print(f"{'units named (of those right), by least r':36} units  {'  '.join(f'{least:.2f}' for least in LEAST)}")
    row("class units", problem.activations, space, known=True)
    shuffled = problem.activations[torch.randperm(len(problem.activations), generator=torch.Generator().manual_seed(0))]
    row("class units, photos shuffled", shuffled, space, known=True)
    row("features", load_file(folder / "mobilenetv2.safetensors")["features"].float(), space)
    for seed in range(1 if options.quick else 3):
        row(f"ResNet-18 with random weights {seed}", random_features(folder / "photos", seed), space)


if __name__ == "__main__":
    main()
