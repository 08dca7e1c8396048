"""A decision layer against its twins on the same frozen features: accuracy, and how few units carry a decision.

    python benchmarks/decision.py cifar  [--out DIR] [--depth 20|56] [--seeds 5]
    python benchmarks/decision.py flickr [--out DIR] [--seeds 5]
    python benchmarks/decision.py table  [--out DIR]

cifar: published ResNets of He et al. (64 pooled features) on the lossy JPEGs of CIFAR-10, which cost them about 10
points; 20,000 training images, 5,000 held out of train/ for every choice, all 10,000 test images read once.
flickr: 1,280 features of MobileNetV2 for 493 photos with its 1,000 logits as teacher: a sanity check, no claim.

Twins, one recipe (AdamW, cosine), paired over seeds: a linear head, the same with few weights a class (L1, then the
largest, trained on), ReLU and GELU of the same width, top-k with as many active units. Every seed
is a JSON file: a run that was stopped goes on where it was.
"""

import argparse
import io
import json
import random
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch
from class_units import CLASSES, SmallResNet
from PIL import Image
from runs import T
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from competition_layers import DecisionHead, DecisionLayer, votes
from competition_layers.decision_figures import classes_served, necessary_units, sufficient_units, units_for_lead
from competition_layers.files import write_file
from competition_layers.heads import features_of, take_classifier_out
from training.decision.fitting import Fitting, fit_heads, logits_of

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
WEIGHTS_A_CLASS = 5  # of the sparse linear head: as many as the decision layer's groups
CHOICES = {  # screened with one seed on the held-out images
    "40 / 8": DecisionLayer(40, 8),
    "80 / 16": DecisionLayer(80, 16),
    "128 / 32": DecisionLayer(128, 32),
    "160 / 32": DecisionLayer(160, 32),
    "320 / 64": DecisionLayer(320, 64),
    "640 / 128": DecisionLayer(640, 128),
    "160 / 32, no balance": DecisionLayer(160, 32, balance=0.0),
    "160 / 32, balance 0.3": DecisionLayer(160, 32, balance=0.3),
    "160 / 32, balance 3": DecisionLayer(160, 32, balance=3.0),
    "160 / 32, no noise": DecisionLayer(160, 32, noise_scale=0.0),
    "160 / 32, noise 0.3": DecisionLayer(160, 32, noise_scale=0.3),
    "160 / 32, temperature 2": DecisionLayer(160, 32, temperature=2.0),
    "160 / 32, temperature 0.5": DecisionLayer(160, 32, temperature=0.5),
}


class TopK(nn.Module):
    """The k largest of all units pass."""

    def __init__(self, k: int):
        super().__init__()
        self.k = k

    def forward(self, h: Tensor) -> Tensor:
        value, unit = h.topk(self.k, -1)
        return torch.zeros_like(h).scatter(-1, unit, value)


def dense_head(features: int, classes: int, decision: DecisionLayer, activation: nn.Module) -> DecisionHead:
    """The decision layer with another activation in the place of the competition."""
    head = DecisionHead(features, classes, decision)
    head.decision = activation
    # all units speak, not a few: torch's own start
    nn.init.kaiming_uniform_(head.decision_votes.weight, a=5**0.5)
    return head


def linear_head(features: int, classes: int, decision: DecisionLayer) -> DecisionHead:
    """Without hidden units: the features themselves are the units."""
    head = DecisionHead(features, classes, replace(decision, units=features, competitors=2, balance=0.0))
    head.decision_units, head.decision = _Itself(features), nn.Identity()
    nn.init.zeros_(head.decision_votes.weight)
    return head


class _Itself(nn.Linear):
    """A linear map that is the identity, and stays so."""

    def __init__(self, features: int):
        super().__init__(features, features)
        nn.init.eye_(self.weight)
        nn.init.zeros_(self.bias)
        self.requires_grad_(False)


def l1(head: DecisionHead) -> Tensor:
    return 3e-4 * head.decision_votes.weight.abs().sum()


def keep_largest(head: DecisionHead, weights: int) -> None:
    """So many weights a class stay and train on; the others are 0."""
    weight = head.decision_votes.weight
    kept = torch.zeros_like(weight).scatter(1, weight.abs().topk(weights, 1).indices, 1.0)
    with torch.no_grad():
        weight.mul_(kept)
    weight.register_hook(lambda gradient: gradient * kept)


def fitted(split: Mapping[str, Tensor], classes: int, names: Mapping[str, DecisionLayer], seed: int, fitting: Fitting):
    """Every head by its name, trained side by side on the same batches."""
    x, y = split["train"], split["train_labels"]
    features = x.shape[-1]
    first = next(iter(names.values()))
    makers: dict[str, Callable[[], DecisionHead]] = {
        "linear": partial(linear_head, features, classes, first),
        "ReLU": lambda: dense_head(features, classes, first, nn.ReLU()),
        "GELU": lambda: dense_head(features, classes, first, nn.GELU()),
        "top-k": lambda: dense_head(features, classes, first, TopK(first.groups)),
        **{name: partial(DecisionHead, features, classes, decision) for name, decision in names.items()},
    }
    heads = []
    for make in makers.values():
        torch.manual_seed(seed)
        heads.append(make())
    made = dict(zip(makers, fit_heads(heads, x, y, replace(fitting, seed=seed)), strict=True))
    torch.manual_seed(seed)
    sparse = linear_head(features, classes, first)
    fit_heads([sparse], x, y, replace(fitting, seed=seed), penalty=l1)
    keep_largest(sparse, WEIGHTS_A_CLASS)
    return {**made, f"L1, {WEIGHTS_A_CLASS} weights a class": fit_heads([sparse], x, y, replace(fitting, seed=seed))[0]}


@torch.no_grad()
def figures(head: DecisionHead, features: Tensor, labels: Tensor) -> dict[str, float]:
    """Of one head on one split."""
    found = votes(head, features.float())
    used = (found.by_unit((found.values != 0).float()) > 0).sum(0)
    wins = found.by_unit(torch.ones_like(found.values)).sum(0)
    served = classes_served(found.by_unit(found.values).sum(0) / wins, found.weights)
    return {
        "accuracy": (logits_of(head, features).argmax(1) == labels).float().mean().item(),
        "active": (found.by_unit(found.values) != 0).sum(1).float().mean().item(),
        "units": units_for_lead(found).float().median().item(),
        "sufficient": sufficient_units(found).float().median().item(),
        "necessary": necessary_units(found).float().median().item(),
        "dead": (used == 0).float().mean().item(),
        "serves": served[~served.isnan()].mean().item(),
    }


@torch.inference_mode()
def cifar_features(depth: int, out: Path) -> dict[str, Tensor]:
    """Pooled features in half precision, computed once."""
    path = out / f"features-resnet{depth}.safetensors"
    if path.is_file():
        return load_file(path)
    model = SmallResNet((depth - 2) // 6)
    model.load_state_dict(load_file(DATA / "cifar10-resnets" / f"resnet{depth}.safetensors"))
    take_classifier_out(model.eval(), classifier="linear", inputs=torch.zeros(1, 3, 32, 32))
    centre, spread = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    found: dict[str, list[tuple[bytes, int]]] = {"train": [], "test": []}
    with tarfile.open(DATA / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and parts[-2] in CLASSES:
                found[parts[-3]].append((archive.extractfile(member).read(), CLASSES.index(parts[-2])))
    random.Random(0).shuffle(found["train"])
    splits = {"train": found["train"][:20_000], "val": found["train"][45_000:], "test": found["test"]}
    tensors = {}
    for split, pictures in splits.items():
        parts = []
        for start in range(0, len(pictures), 250):
            batch = [_pixels(data) for data, _ in pictures[start : start + 250]]
            parts.append(features_of(model, (torch.stack(batch) / 255 - centre) / spread).half())
            print(f"\r{split}: {start + len(batch):,} of {len(pictures):,}", end="", flush=True)
        tensors |= {split: torch.cat(parts), f"{split}_labels": torch.tensor([label for _, label in pictures])}
    with write_file(path) as temporary:
        save_file(tensors, temporary)
    return tensors


def _pixels(data: bytes) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB"))).permute(2, 0, 1).float()


def flickr_features() -> dict[str, Tensor]:
    """Features and the teacher's answers; every fourth photo is tested, every fourth after it chosen by."""
    found = load_file(DATA / "flickr8k-dev" / "mobilenetv2.safetensors")
    features, labels = found["features"], found["logits"].argmax(1)
    place = torch.arange(len(features)) % 4
    splits = {"test": place == 0, "val": place == 1, "train": place > 1}
    return {
        k: v for name, kept in splits.items() for k, v in ((name, features[kept]), (f"{name}_labels", labels[kept]))
    }


def run(name: str, split: Mapping[str, Tensor], classes: int, seeds: int, fitting: Fitting, out: Path) -> None:
    """Choose on `val` with one seed, then every head with every seed on `test`."""
    chosen = out / f"{name}-choices.json"
    if not chosen.is_file():
        heads = fitted(split, classes, CHOICES, 0, fitting)
        _write(chosen, {k: figures(head, split["val"], split["val_labels"]) for k, head in heads.items()})
    screened = {k: v for k, v in json.loads(chosen.read_text()).items() if k in CHOICES and v["units"] <= 5}
    best = max(screened, key=lambda k: screened[k]["accuracy"])
    for seed in range(seeds):
        path = out / f"{name}-seed{seed}.json"
        if not path.is_file():
            heads = fitted(split, classes, {f"decision layer, {best}": CHOICES[best]}, seed, fitting)
            _write(path, {k: figures(head, split["test"], split["test_labels"]) for k, head in heads.items()})


def _write(path: Path, value: object) -> None:
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1))


def tell(name: str, out: Path) -> None:
    """The tables: the choices, and the heads over the seeds with the paired difference to the decision layer."""
    choices = json.loads((out / f"{name}-choices.json").read_text())
    rows = [json.loads(path.read_text()) for path in sorted(out.glob(f"{name}-seed*.json"))]
    columns = ("active", "units", "sufficient", "necessary", "serves", "dead")
    head = (
        "accuracy | active units | units for 90 % of the lead | sufficient | necessary | classes a unit serves | dead |"
    )
    for title, table in ((f"{name}: choices on held-out images, seed 0", choices), (f"{name}: test", None)):
        print(
            f"\n### {title}\n\n| head | {'' if table else 'less the decision layer | '}{head}\n|---|"
            + "---:|" * (7 + (not table))
        )
        for key in table or rows[0]:
            values = [table[key]] if table else [row[key] for row in rows]
            figure = {c: (median if c == "units" else mean)([v[c] for v in values]) for c in ("accuracy", *columns)}
            words = [f"{100 * figure['accuracy']:.2f}"] + [f"{figure[c]:.1f}" for c in columns[:-1]]
            if not table:
                own = next(k for k in rows[0] if k.startswith("decision layer"))
                apart = [100 * (row[key]["accuracy"] - row[own]["accuracy"]) for row in rows]
                words.insert(0, "" if key == own else _interval(apart))
            print(f"| {key} | " + " | ".join(words) + f" | {100 * figure['dead']:.1f} % |")


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:+.2f}"
    half = T[len(values) - 2] * torch.tensor(values).std().item() / len(values) ** 0.5
    return f"{mean(values):+.2f} ± {half:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cifar", "flickr", "table"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks-decision"))
    parser.add_argument("--depth", type=int, choices=(20, 56), default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.what == "cifar":
        name, fitting = f"cifar-resnet{asked.depth}", Fitting(epochs=asked.epochs)
        run(name, cifar_features(asked.depth, asked.out), len(CLASSES), asked.seeds, fitting, asked.out)
        tell(name, asked.out)
    elif asked.what == "flickr":
        fitting = Fitting(epochs=5 * asked.epochs, batch_size=64, lr=1e-3)
        run("flickr", flickr_features(), 1000, asked.seeds, fitting, asked.out)
        tell("flickr", asked.out)
    else:
        for path in sorted(asked.out.glob("*-choices.json")):
            tell(path.name.removesuffix("-choices.json"), asked.out)
    print(f"\n{json.dumps(asdict(Fitting(epochs=asked.epochs)))}")


if __name__ == "__main__":
    main()
