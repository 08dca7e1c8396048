"""Describers on real photographs: 1,280 hidden features and 1,000 class units of an ImageNet network, held-out photos.

    python benchmarks/photographs.py [--data DIR] [--development] [--units 1280]

493 photos with real CLIP embeddings, judged by the same encoder (no other one is at hand). Photos, features and classes
are each cut in two by a hash. Choices were made on one half alone: names from half of its photos, judged on the rest
of it (`--development`). What is printed by default is the other half: names of units that no choice looked at, judged
on photos that no choice looked at. Of a class unit it is known which of 1,000 names is right: `right` is the share of
the half's classes whose name comes first, from the half's photos alone.

`--cifar`: the 64 features of a CIFAR-10 ResNet-20 with published weights, 1,203 LVIS names, images 0 to 249 choose, 250
to 499 judge; nothing was chosen on them.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from class_units import SmallResNet, find_data, to_input
from safetensors.torch import load_file
from similarity import hashed, photographs, reported_photos
from torch import Tensor
from torch.nn.functional import normalize

from dissect import open_probe, record_activations
from dissect.describers.fitting import first_terms
from dissect.describers.sparse_fit import sparse_fit
from dissect.judging.bench import Bench
from dissect.judging.controls import Labelling
from dissect.judging.judge import LayerVerdicts
from dissect.judging.measures.seen import Seen
from dissect.judging.methods import Field
from dissect.judging.verdicts import mean_interval, verdicts
from dissect.report.verdict_text import verdict_text
from dissect.similarity import SIMILARITIES

METHODS = ("lwta", "claims", "soft_wpmi", "wpmi", "cosine_cubed")
TOP = 3


@dataclass(frozen=True)
class Split:
    """Which photos choose names, which judge them, which say what a class unit's `right` name is; `units` are shown."""

    choosing: Tensor
    judging: Tensor
    right: Tensor
    units: Tensor


def split_of(images: Tensor, units: int, kind: str, *, development: bool) -> Split:
    """Photos and units by their hashes; of the photos of choices half choose names and half judge them."""
    reported = reported_photos(images)
    shown = torch.tensor([hashed(kind, unit) for unit in range(units)]) != development
    if not development:
        return Split(~reported, reported, reported, shown)
    judging = ~reported & torch.tensor([hashed("judging", photo) for photo in range(len(images))])
    return Split(~reported & ~judging, judging, ~reported, shown)


def ranked(method: str, values: Tensor, images: Tensor, texts: Tensor, *, classes: bool) -> Tensor:
    """Up to three concepts a unit, best first, (units, 3); a fit of fewer terms repeats its last one."""
    if method != "lwta":
        return SIMILARITIES[method](values, images, texts).topk(TOP, dim=1).indices
    first = first_terms(values, images, texts, classes=classes)
    fit = sparse_fit(values, images, texts, terms=TOP, first=first)
    terms = (fit.weights > 0).long().cumsum(1).clamp(min=1)
    last = (terms * (fit.weights > 0)).argmax(1, keepdim=True)
    return torch.where(fit.weights > 0, fit.concepts, fit.concepts.gather(1, last))


def judged(title: str, values: Tensor, images: Tensor, texts: Tensor, names: Sequence[str], split: Split) -> None:
    """Prints one layer's table, the time a unit, and of class units how many names are right."""
    known, shown = title == "class units", split.units.nonzero()[:, 0]
    held, at = values[split.judging][:, shown], images[split.judging]
    place = {name: i for i, name in enumerate(names)}
    methods, notes = [], []
    for method in METHODS:
        start = time.perf_counter()
        best = ranked(method, values[split.choosing], images[split.choosing], texts, classes=known)[shown]
        took = (time.perf_counter() - start) / values.shape[1]
        methods.append(Labelling(method, tuple(tuple(names[i] for i in row) for row in best.tolist())))
        notes.append(f"  {method:14} {1000 * took:6.2f} ms a unit")
        if known:
            found = ranked(method, values[split.right], images[split.right], texts, classes=True)[shown, 0]
            mean, low, high = mean_interval((found == shown).double())
            notes[-1] += f", right {mean:.1%} [{low:.1%}, {high:.1%}] from {int(split.right.sum())} photos"

    def scored(labels: Sequence[str]) -> Seen:
        return Seen(held, at @ texts[[place[label] for label in labels]].T)

    bench = Bench(title, tuple(shown.tolist()), len(held), {"score": scored})
    found, leads = verdicts(bench, methods, names)
    field = Field(title, bench.units, values.shape[1], tuple(methods), {})
    print(verdict_text(LayerVerdicts(field, len(held), found, leads)))
    for each in found:
        if each.measure == "r" and not each.control:
            print(f"  {each.method:14} r {each.mean:.4f} [{each.low:.4f}, {each.high:.4f}]")
    print("\n".join(notes), flush=True)


def cifar_features(data: Path) -> None:
    """The features before the classifier of the ResNet-20, by all methods."""
    source = data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors"
    model = SmallResNet(3)
    model.load_state_dict(load_file(data / "cifar10-resnets" / "resnet20.safetensors"))
    record = record_activations(model.eval(), open_probe(source), "layer3", summaries=["mean"], transform=to_input)
    images, texts = load_file(source)["embeddings"], load_file(data / "clip-text" / "lvis1203.safetensors")
    names = (data / "clip-text" / "lvis1203.txt").read_text("utf-8").splitlines()
    values, first = record["layer3"].summaries["mean"], torch.arange(len(images)) < 250
    split = Split(first, ~first, ~first, torch.ones(values.shape[1], dtype=torch.bool))
    known = [normalize(next(iter(x.values())).float(), dim=1) for x in ({"": images}, texts)]
    judged("features of CIFAR-10", values, *known, names, split)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--development", action="store_true", help="the half that choices were made on")
    parser.add_argument("--cifar", action="store_true", help="features of a ResNet-20 on CIFAR-10 instead")
    parser.add_argument("--units", type=int, default=1280, help="so many hidden features, the first")
    parser.add_argument("--quick", action="store_true", help="60 hidden features")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    if options.cifar:
        cifar_features(data)
        return
    problem, folder = photographs(data), data / "flickr8k-dev"
    units = 60 if options.quick else options.units
    names = (folder / "imagenet1k.txt").read_text("utf-8").splitlines()
    names = [f"{name} ({i})" if name in names[:i] else name for i, name in enumerate(names)]
    features = load_file(folder / "mobilenetv2.safetensors")["features"].float()[:, :units]
    for title, values in (("hidden features", features), ("class units", problem.activations)):
        split = split_of(problem.images, values.shape[1], title.split()[0], development=options.development)
        judged(title, values, problem.images, problem.texts, names, split)


if __name__ == "__main__":
    main()
