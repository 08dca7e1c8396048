"""Label noise, calibration, corruptions, attack: competing units and their twins on the same backbones.

    python benchmarks/robustness.py [--out DIR] [--seeds 5] [--table] [--quick]

Painted scenes, ten classes, 32 px. A share of the training labels is wrong (drawn evenly from the other classes): 0, 20
and 40 %. A backbone is trained on them, and on its frozen features five sets of units (`small_networks.py`), on the
same labels. On clean test pictures: accuracy, log-loss, calibration error, also after temperature scaling. Of the
networks without wrong labels also accuracy on corrupted pictures (seven kinds, five strengths) and under attack (PGD,
2/255, ten steps; for units that compete on argmax, and on the average of 8 draws with gradients averaged likewise).
Every seed is a JSON file: what is finished is not done again.
"""

import argparse
import json
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from runs import interval
from small_networks import KINDS, features_of, fitted_heads, trained_backbone
from torch import Tensor, nn

from competition_layers import DecisionHead, StochasticLWTA, predict
from competition_layers.files import write_file
from dissect.comparing.attack import pgd
from dissect.comparing.calibration import measure_calibration
from dissect.comparing.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from pictures.scenes import SCENES, paint

SIDE, CENTRE, SPREAD = 32, 0.5, 0.25
WRONG = (0.0, 0.2, 0.4)
SCALE = (torch.full((3, 1, 1), CENTRE), torch.full((3, 1, 1), SPREAD))
FIGURES = ("accuracy", "nll", "error", "error_scaled")


class Network(nn.Module):
    """A backbone and units on its features: pixels in, logits out."""

    def __init__(self, backbone: nn.Module, head: DecisionHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone.forward_features(x).flatten(2).transpose(1, 2))


@cache
def painted(split: str, count: int) -> tuple[list[Image.Image], Tensor]:
    """Pictures at the networks' size, and their classes."""
    scenes = [paint(split, i) for i in range(count)]
    labels = torch.tensor([SCENES.index(scene.label) for scene in scenes])
    return [scene.image.resize((SIDE, SIDE), Image.Resampling.BOX) for scene in scenes], labels


def inputs(images: list[Image.Image]) -> Tensor:
    x = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 255
    return (x - CENTRE) / SPREAD


@cache
def corrupted(count: int) -> dict[tuple[str, int], Tensor]:
    """The test pictures under each corruption and strength."""
    images, _ = painted("val", count)
    every = ((name, 1 + strength) for name in CORRUPTIONS for strength in range(STRENGTHS))
    return {(name, s): inputs([corrupt(image, name, s, side=SIDE) for image in images]) for name, s in every}


def rows_of(seed: int, sizes: dict[str, int], epochs: int) -> dict[str, dict[str, dict[str, float]]]:
    """By share of wrong labels and kind of units: figures on the test pictures."""
    images, true = painted("train", sizes["train"])
    x, y = inputs(images), painted("val", sizes["test"])[1]
    test = inputs(painted("val", sizes["test"])[0])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for share in WRONG:
        labels = with_wrong(true, share, seed)
        backbone = trained_backbone(x, labels, SCENES, epochs=epochs, seed=seed)
        heads = fitted_heads(features_of(backbone, x), labels, len(SCENES), seed=seed)
        features = features_of(backbone, test)
        found[str(share)] = {kind: figures(heads[kind], features, y) for kind in KINDS}
        if not share:
            seen = {key: features_of(backbone, moved) for key, moved in corrupted(sizes["test"]).items()}
            for kind in KINDS:
                found[str(share)][kind] |= {
                    **on_corrupted(heads[kind], seen, y),
                    **attacked(backbone, heads[kind], sizes),
                }
    return found


def with_wrong(true: Tensor, share: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    other = (true + torch.randint(1, len(SCENES), true.shape, generator=generator)) % len(SCENES)
    return torch.where(torch.rand(true.shape, generator=generator) < share, other, true)


def figures(head: DecisionHead, features: Tensor, y: Tensor) -> dict[str, float]:
    logits = predict(head, features)
    measured = measure_calibration(logits, y)
    accuracy = float((logits.argmax(1) == y).float().mean())
    return {"accuracy": accuracy, **{key: getattr(measured, key) for key in ("nll", "error", "error_scaled")}}


def on_corrupted(head: DecisionHead, seen: dict[tuple[str, int], Tensor], y: Tensor) -> dict[str, float]:
    said = {f"{name} {strength}": predict(head, features).argmax(1) for (name, strength), features in seen.items()}
    shares = {key: float((one == y).float().mean()) for key, one in said.items()}
    return {**shares, "corrupted": mean(shares.values())}


def attacked(backbone: nn.Module, head: DecisionHead, sizes: dict[str, int]) -> dict[str, float]:
    images, y = painted("val", sizes["test"])
    x, y = inputs(images[: sizes["attacked"]]), y[: sizes["attacked"]]
    network, shares = Network(backbone, head).eval(), {}
    for name, draws in (("attacked", 0), ("attacked, drawn", 8 if isinstance(head.decision, StochasticLWTA) else 0)):
        moved = pgd(network, x, y, SCALE, draws=draws)
        said = predict(network, moved, samples=draws, generator=torch.Generator().manual_seed(0)).argmax(1)
        shares[name] = float((said == y).float().mean())
    return shares


def tell(out: Path, seeds: int) -> None:
    """Means over seeds with half of the 95 % interval; beside it the paired difference to the competing units."""
    paths = [out / f"{seed}.json" for seed in range(seeds)]
    found = [json.loads(path.read_text()) for path in paths if path.is_file()]
    print(f"{len(found)} of {seeds} seeds")
    if not found:
        return
    for share in WRONG:
        names = [*FIGURES, *(("corrupted", "attacked", "attacked, drawn") if not share else ())]
        print(
            f"\n### {share:.0%} of the labels wrong\n\n| units | "
            + " | ".join(names)
            + " |\n|---|"
            + "---:|" * len(names)
        )
        for kind in KINDS:
            cells = []
            for name in names:
                scale = 1 if name == "nll" else 100
                values = [scale * one[str(share)][kind][name] for one in found]
                apart = [v - scale * one[str(share)]["competing"][name] for v, one in zip(values, found, strict=True)]
                cells.append(f"{mean(values):.2f}" + ("" if kind == "competing" else f" ({interval(apart)})"))
            print(f"| {kind} | {' | '.join(cells)} |")
    print("\n### accuracy under each corruption, strengths 1 and 5\n\n| units | " + " | ".join(CORRUPTIONS) + " |")
    print("|---|" + "---:|" * len(CORRUPTIONS))
    for kind in KINDS:
        clean = [one["0.0"][kind] for one in found]
        ends = [[100 * mean(one[f"{name} {s}"] for one in clean) for s in (1, STRENGTHS)] for name in CORRUPTIONS]
        print(f"| {kind} | " + " | ".join(f"{weak:.1f}, {strong:.1f}" for weak, strong in ends) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-robustness"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    parser.add_argument("--quick", action="store_true", help="few pictures, one seed")
    asked = parser.parse_args()
    sizes, epochs = {"train": 1500, "test": 600, "attacked": 100}, 8
    if asked.quick:
        asked.out, asked.seeds, epochs = asked.out / "quick", 1, 1
        sizes = {"train": 200, "test": 60, "attacked": 20}
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if asked.table else asked.seeds):
        path = asked.out / f"{seed}.json"
        if not path.is_file():
            rows = rows_of(seed, sizes, epochs)
            with write_file(path) as temporary:
                temporary.write_text(json.dumps(rows, indent=1))
            print(f"seed {seed}: " + ", ".join(f"{k} {v['accuracy']:.3f}" for k, v in rows["0.0"].items()), flush=True)
    tell(asked.out, asked.seeds)


if __name__ == "__main__":
    main()
