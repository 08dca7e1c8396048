"""A decision layer against its twins on the same frozen features: accuracy, and how few units carry a decision.

    python benchmarks/decision.py cifar  [--out DIR] [--depth 20|56] [--seeds 5]
    python benchmarks/decision.py flickr [--out DIR] [--seeds 5]
    python benchmarks/decision.py scenes --demo DIR [--out DIR] [--seeds 5]
    python benchmarks/decision.py curve  --demo DIR [--out DIR]
    python benchmarks/decision.py cost   [--out DIR]
    python benchmarks/decision.py table  [--out DIR]

cifar: published ResNets of He et al. (64 pooled features) on the lossy JPEGs of CIFAR-10, which cost them about 10
points; 20,000 training images, 5,000 held out of train/ for every choice, all 10,000 test images read once. The
published networks were trained on all of train/, so accuracy on the held-out images is not that on unseen ones.
flickr: 1,280 features of MobileNetV2 for 493 photos with its 1,000 logits as teacher: a sanity check, no claim.
scenes: the dense network of a finished `lwta demo --out DIR`; its own training pictures, 2,000 to choose by and 2,000
to test on, each painted from a seed of its own.
curve: accuracy on the held-out images of CIFAR-10 (ResNet-20) and of the scenes against the number of groups.
cost: an epoch of eight settings side by side, times that of one; and 20 epochs with the feature pass before them.

Twins, one recipe (AdamW, cosine), paired over seeds: a linear head, the same with few weights a class (L1 with a
strength chosen on held-out images, then the largest, trained on), ReLU and GELU of the same width, top-k with as many
active units; ReLU and top-k also with the decision layer's focus in their loss. Every seed is a JSON file: a run that
was stopped goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import mean, median

import torch
import torch.nn.functional as F
from class_units import CLASSES
from frozen_features import DATA, cifar_features, flickr_features, scenes_features, seconds_of_pass
from runs import interval
from torch import Tensor, nn

from competition_layers import DecisionHead, DecisionLayer, votes
from competition_layers.decision_figures import (
    classes_served,
    necessary_units,
    sufficient_units,
    units_for_lead,
    values_won,
)
from competition_layers.files import write_file
from training.decision.fitting import Fitting, fit_decisions, logits_of, minimise
from training.decision.sweep import sweep, sweep_table

WEIGHTS_A_CLASS = 5  # of the sparse linear head: as many as units may decide
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # of its absolute weights
LAYER = DecisionLayer()  # one setting everywhere; `curve` tells what others do
CURVE = [DecisionLayer(16 * groups, 16) for groups in (2, 4, 5, 6, 8, 10, 12, 16)]


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


def fit_linear(
    heads: Sequence[DecisionHead],
    split: Mapping[str, Tensor],
    fitting: Fitting,
    penalties: Sequence[float] = (),
) -> None:
    """Train linear heads side by side on the same batches, each with its L1 penalty."""

    def loss(x: Tensor, batch: Tensor) -> Tensor:
        target = split["train_labels"][batch]
        total = x.new_zeros(())
        for i, head in enumerate(heads):
            weights = head.decision_votes.weight.abs().sum() * penalties[i] if penalties else 0.0
            total = total + F.cross_entropy(head(x), target) + weights
        return total

    learnt = [p for head in heads for p in head.parameters() if p.requires_grad]
    mean, std = minimise(loss, learnt, split["train"], fitting)
    for head in heads:
        head.decision_features.mean, head.decision_features.std = mean, std
        head.eval()


def sparse_heads(
    split: Mapping[str, Tensor], classes: int, penalties: Sequence[float], fitting: Fitting
) -> list[DecisionHead]:
    """Linear heads of `WEIGHTS_A_CLASS` weights a class: L1, then the largest stay and train on."""
    width, device = split["train"].shape[-1], split["train"].device
    heads = [linear_head(width, classes, DecisionLayer()).to(device) for _ in penalties]
    fit_linear(heads, split, fitting, penalties)
    for head in heads:
        weight = head.decision_votes.weight
        kept = torch.zeros_like(weight).scatter(1, weight.abs().topk(WEIGHTS_A_CLASS, 1).indices, 1.0)
        with torch.no_grad():
            weight.mul_(kept)
        weight.register_hook(kept.mul)
    fit_linear(heads, split, fitting)
    return heads


def fitted(
    split: Mapping[str, Tensor], classes: int, fitting: Fitting, penalties: Sequence[float]
) -> dict[str, DecisionHead]:
    """Every head by its name, from one seed and on the same batches."""
    torch.manual_seed(fitting.seed)
    linear = linear_head(split["train"].shape[-1], classes, LAYER)
    fit_linear([linear], split, fitting)
    sparse = sparse_heads(split, classes, penalties, fitting)
    layers = {
        f"ReLU, {LAYER.units} units": replace(LAYER, activation="relu", focus=0.0),
        f"GELU, {LAYER.units} units": replace(LAYER, activation="gelu", focus=0.0),
        f"top-{LAYER.groups} of {LAYER.units}": replace(LAYER, activation="topk", focus=0.0),
        f"top-{LAYER.groups}, focus": replace(LAYER, activation="topk"),
        "ReLU, focus": replace(LAYER, activation="relu"),
        f"decision layer, {LAYER.units} / {LAYER.competitors}": LAYER,
    }
    heads = fit_decisions(
        split["train"], split["train_labels"], list(layers.values()), classes=classes, fitting=fitting
    )
    return {
        "linear": linear,
        **{_l1(penalty): head for penalty, head in zip(penalties, sparse, strict=True)},
        **dict(zip(layers, heads, strict=True)),
    }


def _l1(penalty: float) -> str:
    return f"L1 {penalty:g}, {WEIGHTS_A_CLASS} weights a class"


@torch.no_grad()
def figures(head: DecisionHead, features: Tensor, labels: Tensor) -> dict[str, float]:
    """Of one head on one split: accuracy on all of it, the numbers of units on its first 2,000 images."""
    found = votes(head, features[:2000].float())
    used = (found.by_unit((found.values != 0).float()) > 0).sum(0)
    served = classes_served(values_won(found), found.weights)
    return {
        "accuracy": (logits_of(head, features).argmax(1) == labels).float().mean().item(),
        "active": (found.by_unit(found.values) != 0).sum(1).float().mean().item(),
        "units": units_for_lead(found).float().median().item(),
        "sufficient": sufficient_units(found).float().median().item(),
        "necessary": necessary_units(found).float().median().item(),
        "dead": (used == 0).float().mean().item(),
        "serves": served[~served.isnan()].mean().item(),
    }


def run(name: str, split: Mapping[str, Tensor], classes: int, seeds: int, fitting: Fitting, out: Path) -> None:
    """Choose the L1 strength on `val` with one seed, then every head with every seed on `test`."""
    chosen = out / f"{name}-choices.json"
    if not chosen.is_file():
        heads = fitted(split, classes, fitting, PENALTIES)
        _write(chosen, {k: figures(head, split["val"], split["val_labels"]) for k, head in heads.items()})
    screened = json.loads(chosen.read_text())
    penalty = max(PENALTIES, key=lambda p: screened[_l1(p)]["accuracy"])
    for seed in range(seeds):
        path = out / f"{name}-seed{seed}.json"
        if not path.is_file():
            heads = fitted(split, classes, replace(fitting, seed=seed), [penalty])
            _write(path, {k: figures(head, split["test"], split["test_labels"]) for k, head in heads.items()})


def curve(name: str, split: Mapping[str, Tensor], fitting: Fitting, out: Path) -> None:
    """Accuracy on `val` against the number of groups, which is the number of active units; one seed."""
    path = out / f"curve-{name}.md"
    if not path.is_file():
        train, held_out = ((split[k], split[f"{k}_labels"]) for k in ("train", "val"))
        table = sweep_table(sweep(train, held_out, CURVE, fitting=fitting))
        with write_file(path) as temporary:
            temporary.write_text(table)
    print(f"\n### {name}: accuracy against activity, held-out images\n\n{path.read_text()}")


def cost(split: Mapping[str, Tensor], rounds: int) -> None:
    """Processor seconds of one epoch: one setting, and those of `CURVE`, in turns; medians. And of a whole fit."""
    seconds: dict[int, list[float]] = {1: [], len(CURVE): []}
    for _, count in product(range(rounds), seconds):
        start = time.process_time()
        fit_decisions(split["train"], split["train_labels"], CURVE[-1:] if count == 1 else CURVE, fitting=Fitting(1))
        seconds[count].append(time.process_time() - start)
    one, all_ = (median(each) for each in seconds.values())
    print(f"an epoch: {one:.2f} s for one setting, {all_:.2f} s for {len(CURVE)}: {all_ / one:.1f} times")
    epochs, first = Fitting().epochs, seconds_of_pass(20, len(split["train"]))
    whole = [first + epochs * each for each in (one, all_)]
    print(
        f"{epochs} epochs and the feature pass ({first:.0f} s): {whole[0]:.0f} s for one, {whole[1]:.0f} s for "
        f"{len(CURVE)}: {whole[1] / whole[0]:.1f} times"
    )


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
    tables = [(f"{name}: choices on held-out images, seed 0", choices)]
    for title, table in tables + [(f"{name}: test, {len(rows)} seeds", None)] * bool(rows):
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
                words.insert(0, "" if key == own else interval(apart, sign="+"))
            print(f"| {key} | " + " | ".join(words) + f" | {100 * figure['dead']:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="?", choices=("cifar", "flickr", "scenes", "curve", "cost", "table"), default="flickr"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks-decision"))
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--depth", type=int, choices=(20, 56), default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, in a folder of its own")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    out, epochs, seeds = asked.out, asked.epochs, asked.seeds
    if asked.quick:
        out, epochs, seeds = out / "quick", 1, 1
    if asked.what in ("cifar", "flickr", "curve", "cost") and not DATA.is_dir():
        raise SystemExit(f"Expected real data in {DATA}, which is not there")
    out.mkdir(parents=True, exist_ok=True)
    fitting = Fitting(epochs=epochs)
    if asked.what == "cifar":
        split = cifar_features(asked.depth, out)
        run(f"cifar-resnet{asked.depth}", split, len(CLASSES), seeds, fitting, out)
    elif asked.what == "flickr":
        run("flickr", flickr_features(), 1000, seeds, replace(fitting, epochs=5 * epochs, batch_size=64, lr=1e-3), out)
    elif asked.what == "scenes":
        run("scenes", scenes_features(asked.demo, out), 10, seeds, replace(fitting, epochs=5 * epochs), out)
    elif asked.what == "curve":
        curve("cifar-resnet20", cifar_features(20, out), fitting, out)
        if asked.demo.is_dir():
            curve("scenes", scenes_features(asked.demo, out), replace(fitting, epochs=5 * epochs), out)
    elif asked.what == "cost":
        cost(cifar_features(20, out), 2 if asked.quick else 5)
        return
    for path in sorted(out.glob("*-choices.json")):
        tell(path.name.removesuffix("-choices.json"), out)
    print(f"\n{json.dumps(asdict(fitting))}")


if __name__ == "__main__":
    main()
