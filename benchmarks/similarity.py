"""Compare the similarities on class units whose names are known: on photographs, CIFAR-10, and made networks.

    python benchmarks/similarity.py [--data DIR] [--seeds 3] [--quick] [--photographs]

Made networks: `made_problems.py`.

Photographs: the 1,000 class units of an ImageNet network on 493 photos of everyday life, most classes without a photo;
then, of photos and of classes, the half that choices may be made on, and the half that none was made on (by a hash).
CIFAR-10: images 0 to 249 only. The variants are `claims` with one thing changed: what was tried and not taken.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from math import log2
from pathlib import Path

import torch
from class_units import CLASSES, SmallResNet, count, find_data, to_input
from made_problems import SETTINGS, Problem, alignment, make
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from dissect import SIMILARITIES, open_probe, record_activations
from dissect.naming.near_duplicates import near_duplicates
from dissect.similarity.claims import FEW, FREE, SHARPNESS

BASELINES = ("soft_wpmi", "wpmi", "cosine_cubed", "cosine")
VARIANTS: dict[str, dict] = {
    "claims, literally": {},
    "averaged, not regressed": {"regress": 0.0},
    "half regressed": {"regress": 0.5},
    "a third of the penalty": {"penalty": 1 / 3},
    "three times the penalty": {"penalty": 3.0},
    "not divided by the spread": {"spread": False},
    "no sharing of names": {"free": None},
    "shared out three times": {"rounds": 3},
    "a third of the free claim": {"free": FREE / 3},
    "three times the free claim": {"free": 3 * FREE},
    "power 1": {"power": 1.0},
    "power 2": {"power": 2.0},
    "power 3": {"power": 3.0},
    "weights 1 / rank, top 100": {"power": 0.0},
    "sharpness 1.5": {"sharpness": 1.5},
    "sharpness 4": {"sharpness": 4.0},
}


def variant(
    problem: Problem,
    *,
    power: float | None = None,
    regress: float = 1.0,
    penalty: float = 1.0,
    spread: bool = True,
    sharpness: float = SHARPNESS,
    free: float | None = FREE,
    rounds: int = 1,
) -> Tensor:
    """`claims` written with whole matrices, and what else was tried."""
    a, images = problem.activations, problem.images - problem.images.mean(0)
    if power == 0:
        rank = a.argsort(0, descending=True).argsort(0)
        weights = (rank < 100) / (rank + 3.5)
    else:
        weights = (a - a.mean(0)).clamp(min=0) ** (power or max(1.0, log2(len(a) / FEW) / 2))
    values, vectors = torch.linalg.eigh((images.T @ images).double() / len(images))
    values = values.clamp(min=0)
    scale = penalty * values.square().sum() / values.sum()
    p = images @ ((vectors * (1 + values / scale) ** -regress) @ vectors.T).float()
    p = p @ (problem.texts - problem.texts.mean(0)).T
    z = (weights / weights.sum(0)).T @ p / (p.square().mean(0).sqrt() if spread else 1)
    z = (z - z.mean(1, keepdim=True)) / z.std(1, correction=0, keepdim=True)
    logs = (sharpness * z).log_softmax(1)
    for _ in range(0 if free is None else rounds):
        logs = logs.log_softmax(1)
        logs = logs - (free + logs.exp().sum(0)).log()
    return logs


def photographs(data: Path) -> Problem:
    """The class units of a MobileNetV2 on photos, and their 1,000 names."""
    folder = data / "flickr8k-dev"
    images = load_file(folder / "photos_vit_b_32.safetensors")["embeddings"]
    texts = load_file(folder / "imagenet1k.safetensors")["embeddings"]
    logits = load_file(folder / "mobilenetv2.safetensors")["logits"].float()
    return Problem(logits, normalize(images.float(), dim=1), normalize(texts.float(), dim=1), 1000, float("nan"))


def hashed(kind: str, number: int) -> bool:
    """One of two halves, the same on every machine."""
    return bool(sha256(f"{kind} {number}".encode()).digest()[0] & 1)


def reported_photos(images: Tensor) -> Tensor:
    """Which photos no choice was made on; near-duplicates stand on one side."""
    blocks = near_duplicates(images)
    return torch.tensor([hashed("photo", int((blocks == block).nonzero()[0, 0])) for block in blocks])


def half_of(problem: Problem, *, reported: bool) -> Problem:
    """Half of the photographs, with half of the classes counted: that of choices, or the other one."""
    photos = reported_photos(problem.images) == reported
    classes = torch.tensor([hashed("class", unit) for unit in range(problem.units)]) == reported
    values, images = problem.activations[photos], problem.images[photos]
    return replace(problem, activations=values, images=images, counted=classes)


def cifar10(data: Path, names: Tensor) -> dict[str, Problem]:
    """Class units of two published networks on the development half; `units` is not used."""
    probe = open_probe(data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors")
    images = load_file(data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors")["embeddings"].float()
    problems = {}
    for n, name in ((3, "resnet20"), (9, "resnet56")):
        model = SmallResNet(n)
        model.load_state_dict(load_file(data / "cifar10-resnets" / f"{name}.safetensors"), strict=False)
        record = record_activations(model.eval(), probe, "linear", summaries=["mean"], transform=to_input)["linear"]
        problems[name] = Problem(record.summaries["mean"][:250], images[:250], names, len(CLASSES), float("nan"))
    return problems


def show(problems: Sequence[Problem], methods: Sequence[str]) -> None:
    """A row a method: the share of units whose own name comes first, and among the first five."""
    for method in methods:
        found = [(p.right(s), p.right(s, 5)) for p in problems for s in [score(p, method)]]
        each = " ".join(f"{100 * one:5.1f}" for one, _ in found)
        first, five = (sum(column) / len(found) for column in zip(*found, strict=True))
        print(f"    {method:30} right {first:6.1%}, among five {five:6.1%}   by seed {each}", flush=True)


def score(problem: Problem, method: str) -> Tensor:
    if method in VARIANTS:
        return variant(problem, **VARIANTS[method])
    return SIMILARITIES[method](problem.activations, problem.images, problem.texts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one setting, one seed, no variants")
    parser.add_argument("--photographs", action="store_true", help="the photographs alone, with all variants")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    if options.photographs:
        whole, methods = photographs(data), ["claims", *BASELINES, *VARIANTS]
        halves = {part: half_of(whole, reported=part != "choices") for part in ("choices", "reported")}
        for title, problem in ({"all": whole} | halves).items():
            print(f"\n{title}: {len(problem.images)} photos")
            show([problem], methods[:1] if options.quick else methods)
        return
    known = load_file(data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors")
    real, labels = known["embeddings"].float()[:250], known["labels"][:250].long()
    names = next(iter(load_file(data / "clip-text" / "lvis1203.safetensors").values())).float()
    words = (data / "clip-text" / "lvis1203.txt").read_text("utf-8").splitlines()
    for along in (0.0, 0.25, 0.5, 0.75, 1.0):
        cosine = alignment(real, labels, names, words, along)
        print(f"class means of CIFAR-10: cosine {cosine:.2f} with covariance^{along} x text")
    methods = ["claims", *BASELINES, *([] if options.quick else VARIANTS)]
    print("\n1,000 class units on 493 photographs")
    show([photographs(data)], methods)
    for title, setting in list(SETTINGS.items())[: 1 if options.quick else None]:
        seeds = range(1 if options.quick else options.seeds)
        problems = [make(setting, real, labels, names, seed) for seed in seeds]
        accuracy = sum(p.accuracy for p in problems) / len(problems)
        print(f"\n{title}: {asdict(setting)}\n    the network is right on {accuracy:.0%} of the images")
        show(problems, methods)
    print("\nCIFAR-10 class units, images 0-249, 1,203 LVIS names: accepted, strict")
    for network, problem in cifar10(data, names).items():
        for method in methods:
            held = count([words[i] for i in score(problem, method).argmax(1).tolist()])
            print(f"    {network} {method:30} {held.accepted:2}/10 {held.strict:2}/10", flush=True)


if __name__ == "__main__":
    main()
