"""Compare the similarities on class units whose names are known: on photographs, CIFAR-10, and made networks.

    python benchmarks/similarity.py [--data DIR] [--seeds 3] [--quick] [--photographs]

A made problem: 1,000 classes are real CLIP text embeddings (of 1,203 LVIS names; `cluster` draws them together like
breeds of a dog). The images of a class lie at the mean image, plus covariance^along times its text (0: along the text;
1: Haufe et al. 2014, eq. 6; for CIFAR-10's class means, the first lines printed, between), plus looks that the name
does not tell, of the class and of its family, plus companions of other classes, and noise with the covariance of real
images. Some names say little (`vague`: crane, drumstick). A network with features of its own, sharing part of what CLIP
sees, gives the logits. Right is the class's own name among 1,000.

Of a real ImageNet network it is known that soft_wpmi is right for 72 %, wpmi and cosine_cubed for 69 %, cosine for
28 %. The first two settings come near these four; the others differ from the first in a respect or two.

Photographs: the 1,000 class units of an ImageNet network on 493 photos of everyday life, most classes without a photo;
then, of photos and of classes, the half that choices may be made on, and the half that none was made on (by a hash).
CIFAR-10: images 0 to 249 only. The variants are `claims` with one thing changed: what was tried and not taken.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import log2
from pathlib import Path

import torch
from class_units import CLASSES, SmallResNet, count, find_data, to_input
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from dissect import SIMILARITIES, open_probe, record_activations
from dissect.naming.near_duplicates import near_duplicates
from dissect.similarity.claims import FEW, FREE, SHARPNESS

CLASSES_MADE = 1000
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


@dataclass(frozen=True)
class Setting:
    """How a problem is made. `present` classes have images, `images` > 0 draws so many by a long tail instead."""

    per_class: int = 10
    present: int = CLASSES_MADE
    images: int = 0
    cluster: float = 0.3
    families: int = 60
    along: float = 0.25
    told: float = 0.85  # cosine of a class's looks with what its name tells
    vague: float = 0.4  # so many names tell little: `vague_told`
    vague_told: float = 0.3
    within: float = 0.3
    shared: float = 0.9  # of the network's features with what CLIP sees
    network_noise: float = 2.0
    network_families: float = 0.4
    features: int = 256


SETTINGS = {
    "10 images a class": Setting(),
    "classes more alike, more vague names": Setting(cluster=0.45, vague=0.5, vague_told=0.35),
    "5 a class": Setting(5, along=0.5, within=0.2),
    "30 a class, names that tell less": Setting(30, cluster=0.6, told=0.7, vague=0.3, vague_told=0.2, shared=0.75),
    "1 a class": Setting(1),
    "long tail, 5,000 images": Setting(images=5000),
    "100 of 1,000 classes, 40 images": Setting(40, present=100),
    "a network that sees more": Setting(told=0.7, shared=0.75, features=1024),
    "class means along covariance x text": Setting(along=1.0),
    "class means along the text": Setting(along=0.0),
}


@dataclass(frozen=True)
class Problem:
    """Activations (images x units), unit-norm images and texts; unit k is to be called text k, for k < `units`."""

    activations: Tensor
    images: Tensor
    texts: Tensor
    units: int
    accuracy: float
    counted: Tensor | None = None  # of the units; None: all

    def right(self, scores: Tensor, top: int = 1) -> float:
        best = scores[: self.units].topk(top, dim=1).indices
        found = (best == torch.arange(self.units)[:, None]).any(1)
        return (found if self.counted is None else found[self.counted]).double().mean().item()


def make(setting: Setting, real: Tensor, labels: Tensor, names: Tensor, seed: int) -> Problem:
    """A problem of one setting, from real images (with labels, for the covariance) and real texts."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    texts = names[torch.randperm(len(names), generator=generator)[:CLASSES_MADE]]
    t, k = texts - names.mean(0), len(texts)
    family = torch.multinomial(1 / (torch.arange(setting.families) + 3.0), k, replacement=True, generator=generator)
    t = setting.cluster**0.5 * t[family] + (1 - setting.cluster) ** 0.5 * t
    texts = normalize(names.mean(0) + t, dim=1)
    t = texts - texts.mean(0)
    means = torch.stack([real[labels == label].mean(0) for label in range(10)])
    all_images, residuals = _blend(real - real.mean(0), names), _blend(real - means[labels], names)

    vague = torch.rand(k, 1, generator=generator) < setting.vague
    told = (setting.told + 0.15 * draw(k, 1)).clamp(0, 0.98).where(~vague, torch.tensor(setting.vague_told))
    untold = 0.3**0.5 * draw(setting.families, 512)[family] + 0.7**0.5 * draw(k, 512)
    looks = told * _unit(t @ _power(all_images, setting.along))
    looks += (1 - told**2).sqrt() * _unit(untold @ _power(all_images, 0.5))
    visual = 0.23**0.5 * looks
    if setting.images:
        tail = (1 / (torch.arange(float(k)) + 10))[torch.randperm(k, generator=generator)]
        kind = torch.multinomial(tail, setting.images, replacement=True, generator=generator)
    else:
        kind = torch.arange(setting.present).repeat_interleave(setting.per_class)
    n = len(kind)
    usual = torch.randint(0, k, (k, 3), generator=generator)[kind, torch.randint(0, 3, (n,), generator=generator)]
    any_other = torch.randint(0, k, (n,), generator=generator)
    companion = torch.where(torch.rand(n, generator=generator) < 0.5, usual, any_other)
    strength = 0.4 * torch.rand(n, 1, generator=generator)
    hard = torch.exp(0.25 * draw(n, 1))  # some pictures are harder
    noise = _unit(draw(n, 512) @ _power(residuals, 0.5)) * hard
    centre = 0.52**0.5 * normalize(real.mean(0), dim=0)
    images = normalize(centre + visual[kind] + strength * visual[companion] + setting.within**0.5 * noise, dim=1)

    features = draw(512, setting.features) / setting.features**0.5
    own = (1 - setting.network_families) ** 0.5 * draw(k, setting.features)
    own += setting.network_families**0.5 * draw(setting.families, setting.features)[family]
    units = setting.shared**0.5 * _unit(visual) @ features + ((1 - setting.shared) / setting.features) ** 0.5 * own
    units -= units.mean(0)
    wrong = 0.6**0.5 * noise @ features + (0.4 / setting.features) ** 0.5 * hard * draw(n, setting.features)
    logits = (units[kind] + strength * units[companion] + setting.network_noise * wrong) @ units.T
    accuracy = (logits.argmax(1) == kind).double().mean().item()
    logits = (logits - logits.mean(0)) / logits.std(0).mean() + 0.05 * draw(k)
    return Problem(logits, images, texts, setting.present, accuracy)


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


def alignment(real: Tensor, labels: Tensor, names: Tensor, words: list[str], along: float) -> float:
    """Cosine of CIFAR-10's class means with covariance^along times text, the covariance within classes, of the other
    half of the images (with the classes in it, it would tell where their means lie)."""
    common = {"automobile": "car (automobile)"}
    known = [i for i, name in enumerate(CLASSES) if common.get(name, name) in words]
    texts = names[[words.index(common.get(CLASSES[i], CLASSES[i])) for i in known]]
    texts = texts - texts.mean(0)
    found = []
    for parity in (0, 1):
        means = torch.stack([_of(real, labels, parity, i).mean(0) for i in known])
        apart = torch.cat([(x := _of(real, labels, 1 - parity, i)) - x.mean(0) for i in range(10)])
        expected = texts @ _power(apart.T @ apart / len(apart), along)
        found.append(torch.cosine_similarity(means - means.mean(0), expected - expected.mean(0)).mean())
    return float(torch.stack(found).mean())


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


def _blend(images: Tensor, texts: Tensor) -> Tensor:
    """The covariance of few real images, filled up with that of the texts and some of every direction; trace 1."""
    t = texts - texts.mean(0)
    parts = [(x.T @ x) / x.square().sum() for x in (images, t)]
    return 0.45 * parts[0] + 0.45 * parts[1] + 0.1 * torch.eye(len(parts[0])) / len(parts[0])


def _power(covariance: Tensor, exponent: float) -> Tensor:
    """A symmetric power; directions without variance count as a fiftieth of the mean, so that 0 is the identity."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return ((vectors * (values / values.mean() + 0.02).clamp(min=0.02) ** exponent) @ vectors.T).float()


def _unit(x: Tensor) -> Tensor:
    """Mean square length 1."""
    return x / x.square().sum(1).mean().sqrt()


def _of(real: Tensor, labels: Tensor, parity: int, label: int) -> Tensor:
    return real[(torch.arange(len(real)) % 2 == parity) & (labels == label)]


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
