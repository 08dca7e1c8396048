"""Compare the similarities on class units whose names are known: made networks in CLIP's real geometry, and CIFAR-10.

    python benchmarks/similarity.py [--data DIR] [--seeds 3] [--quick]

A made problem: 1,000 classes are real CLIP text embeddings (of 1,203 LVIS names; `cluster` draws them together like
breeds of a dog). The images of a class lie at the mean image, plus covariance times its text (so do those of CIFAR-10:
the first line printed), plus what only its pictures share, companions of other classes, and noise with the covariance
of real images. A network of its own features, sharing part of what CLIP sees, gives the logits. Right is the class's
own name among 1,000. The settings stand around the difficulty of ImageNet; none of them is ImageNet. The variants are
`claims` with one thing changed: what was tried and not taken. CIFAR-10: images 0 to 249 only.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from class_units import CLASSES, SmallResNet, count, find_data, to_input
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from dissect import SIMILARITIES, open_probe, record_activations
from dissect.similarity.claims import FREE, POWER, SHARPNESS

CLASSES_MADE, FEATURES = 1000, 256
BASELINES = ("soft_wpmi", "wpmi", "cosine_cubed", "cosine")
VARIANTS: dict[str, dict] = {
    "claims, literally": {},
    "no sharing of names": {"free": None},
    "no free claim": {"free": 0.0},
    "ten times the free claim": {"free": 10 * FREE},
    "lean not divided": {"metric": "none"},
    "divided by the text's length": {"metric": "length"},
    "spread moderated by its mean": {"metric": "moderated"},
    "spread and length (ridge)": {"metric": "ridge"},
    "whitened images": {"metric": "whitened"},
    "power 1": {"power": 1.0},
    "power 3": {"power": 3.0},
    "power 7": {"power": 7.0},
    "weights 1 / rank, top 100": {"power": None},
    "sharpness 2": {"sharpness": 2.0},
    "sharpness 6": {"sharpness": 6.0},
}


@dataclass(frozen=True)
class Setting:
    """How a problem is made. `present` classes have images, `images` > 0 draws so many by a long tail instead."""

    per_class: int = 5
    present: int = CLASSES_MADE
    images: int = 0
    cluster: float = 0.6
    aligned: float = 0.3
    own: float = 0.1
    within: float = 0.4
    network_noise: float = 2.0
    straight: bool = False  # class means along the text itself, not along covariance times text


SETTINGS = {
    "1 image a class": Setting(1, cluster=0.3, aligned=0.4, own=0.05, within=0.3, network_noise=1.0),
    "5 images a class": Setting(5),
    "20 images a class": Setting(20, cluster=0.7, own=0.2),
    "long tail, 5,000 images": Setting(images=5000, cluster=0.3, own=0.05),
    "100 of 1,000 classes, 40 images": Setting(40, present=100),
    "class means along the text": Setting(5, cluster=0.5, own=0.2, within=0.25, network_noise=1.5, straight=True),
}


@dataclass(frozen=True)
class Problem:
    """Activations (images x units), unit-norm images and texts; unit k is to be called text k, for k < `units`."""

    activations: Tensor
    images: Tensor
    texts: Tensor
    units: int
    accuracy: float

    def right(self, scores: Tensor, top: int = 1) -> float:
        best = scores[: self.units].topk(top, dim=1).indices
        return (best == torch.arange(self.units)[:, None]).any(1).double().mean().item()


def make(setting: Setting, real: Tensor, labels: Tensor, names: Tensor, seed: int) -> Problem:
    """A problem of one setting, from real images (with labels, for the covariance) and real texts."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def unit(x: Tensor) -> Tensor:  # mean square length 1
        return x / x.square().sum(1).mean().sqrt()

    texts = names[torch.randperm(len(names), generator=generator)[:CLASSES_MADE]]
    t = texts - names.mean(0)
    parents = torch.multinomial(1 / (torch.arange(200.0) + 5), len(t), replacement=True, generator=generator)
    t = setting.cluster**0.5 * t[parents] + (1 - setting.cluster) ** 0.5 * t
    texts = normalize(names.mean(0) + t, dim=1)
    t = texts - texts.mean(0)
    means = torch.stack([real[labels == label].mean(0) for label in range(10)])
    all_images, residuals = _blend(real - real.mean(0), names), _blend(real - means[labels], names)

    seen = unit(_root(all_images, draw(len(t), 512)))
    alike = unit(_root(all_images, unit(t @ draw(512, 512))))  # near texts, near pictures
    own = setting.own**0.5 * (0.8**0.5 * alike + 0.2**0.5 * seen)
    visual = setting.aligned * (t if setting.straight else unit(t @ all_images)) + own
    if setting.images:
        tail = (1 / (torch.arange(float(len(t))) + 10))[torch.randperm(len(t), generator=generator)]
        kind = torch.multinomial(tail, setting.images, replacement=True, generator=generator)
    else:
        kind = torch.arange(setting.present).repeat_interleave(setting.per_class)
    n = len(kind)
    usual = torch.randint(0, len(t), (len(t), 3), generator=generator)[
        kind, torch.randint(0, 3, (n,), generator=generator)
    ]
    any_other = torch.randint(0, len(t), (n,), generator=generator)
    companion = torch.where(torch.rand(n, generator=generator) < 0.6, usual, any_other)
    strength = 0.5 * torch.rand(n, 1, generator=generator)
    hard = torch.exp(0.25 * draw(n, 1))  # some pictures are harder
    noise = unit(_root(residuals, draw(n, 512))) * hard
    centre = 0.75 * normalize(real.mean(0), dim=0)
    images = normalize(centre + visual[kind] + strength * visual[companion] + setting.within**0.5 * noise, dim=1)

    features = draw(512, FEATURES) / FEATURES**0.5
    units = 0.5**0.5 * unit(visual) @ features + 0.5**0.5 * draw(len(t), FEATURES) / FEATURES**0.5
    shared = noise + 2 * strength * visual[companion]
    private = 0.5**0.5 * shared @ features + 0.5**0.5 * hard * draw(n, FEATURES) / FEATURES**0.5
    logits = (units[kind] + 0.5 * strength * units[companion] + setting.network_noise * private) @ units.T
    accuracy = (logits.argmax(1) == kind).double().mean().item()
    logits = (logits - logits.mean(0)) / logits.std(0).mean() + 0.05 * draw(len(t))
    return Problem(logits, images, texts, setting.present, accuracy)


def variant(
    problem: Problem,
    *,
    power: float | None = POWER,
    metric: str = "spread",
    sharpness: float = SHARPNESS,
    free: float | None = FREE,
) -> Tensor:
    """`claims` written with whole matrices, and what else was tried."""
    a, images = problem.activations, problem.images - problem.images.mean(0)
    texts = problem.texts - problem.texts.mean(0)
    if power is None:
        rank = a.argsort(0, descending=True).argsort(0)
        weights = (rank < 100) / (rank + 1)
    else:
        weights = ((a - a.mean(0)) / (a.amax(0) - a.mean(0))).clamp(min=0) ** power
    directions = (weights / weights.sum(0)).T @ images
    covariance = images.T @ images / len(images)
    isotropic = covariance.trace() / len(covariance) * torch.eye(len(covariance))
    if metric == "whitened":
        texts = texts @ torch.linalg.inv(covariance + isotropic)
    spread, length = ((texts @ covariance) * texts).sum(1), texts.square().sum(1)
    squares = {
        "spread": spread,
        "none": torch.ones_like(spread),
        "length": length,
        "moderated": spread + spread.mean(),
        "ridge": spread + isotropic[0, 0] * length,
        "whitened": ((texts @ (covariance + isotropic)) * texts).sum(1),
    }[metric]
    z = directions @ (texts / squares.sqrt()[:, None]).T
    z = (z - z.mean(1, keepdim=True)) / z.std(1, correction=0, keepdim=True)
    logs = (sharpness * z).log_softmax(1)
    return logs if free is None else logs - (free + logs.exp().sum(0)).log()


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


def alignment(real: Tensor, labels: Tensor, names: Tensor, words: list[str]) -> tuple[float, float]:
    """Cosine of CIFAR-10's class means with covariance times text, and with the text; each from the other half."""
    common = {"automobile": "car (automobile)"}
    known = [i for i, name in enumerate(CLASSES) if common.get(name, name) in words]
    texts = (names - names.mean(0))[[words.index(common.get(CLASSES[i], CLASSES[i])) for i in known]]
    found = []
    for parity in (0, 1):
        here, there = torch.arange(len(real)) % 2 == parity, torch.arange(len(real)) % 2 != parity
        means = torch.stack([real[here & (labels == i)].mean(0) for i in known]) - real[here].mean(0)
        found.append([torch.cosine_similarity(means, x).mean() for x in (texts @ torch.cov(real[there].T), texts)])
    return tuple(torch.tensor(found).mean(0).tolist())


def score(problem: Problem, method: str) -> Tensor:
    if method in VARIANTS:
        return variant(problem, **VARIANTS[method])
    return SIMILARITIES[method](problem.activations, problem.images, problem.texts)


def _blend(images: Tensor, texts: Tensor) -> Tensor:
    """The covariance of few real images, filled up with that of the texts and some of every direction; trace 1."""
    t = texts - texts.mean(0)
    parts = [(x.T @ x) / x.square().sum() for x in (images, t)]
    return 0.45 * parts[0] + 0.45 * parts[1] + 0.1 * torch.eye(len(parts[0])) / len(parts[0])


def _root(covariance: Tensor, noise: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance.double())
    return noise @ (vectors * values.clamp(min=0).sqrt()).float().T


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one setting, one seed, no variants")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    known = load_file(data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors")
    real, labels = known["embeddings"].float()[:250], known["labels"][:250].long()
    names = next(iter(load_file(data / "clip-text" / "lvis1203.safetensors").values())).float()
    words = (data / "clip-text" / "lvis1203.txt").read_text("utf-8").splitlines()
    along, straight = alignment(real, labels, names, words)
    print(f"held-out class means of CIFAR-10: cosine {along:.2f} with covariance x text, {straight:.2f} with the text")
    methods = ["claims", *BASELINES, *([] if options.quick else VARIANTS)]
    for title, setting in list(SETTINGS.items())[: 1 if options.quick else None]:
        seeds = range(1 if options.quick else options.seeds)
        problems = [make(setting, real, labels, names, seed) for seed in seeds]
        accuracy = sum(p.accuracy for p in problems) / len(problems)
        print(f"\n{title}: {asdict(setting)}\n    the network is right on {accuracy:.0%} of the images")
        for method in methods:
            found = [(p.right(s), p.right(s, 5)) for p in problems for s in [score(p, method)]]
            each = " ".join(f"{100 * one:5.1f}" for one, _ in found)
            first, five = (sum(column) / len(found) for column in zip(*found, strict=True))
            print(f"    {method:30} right {first:6.1%}, among five {five:6.1%}   by seed {each}", flush=True)
    print("\nCIFAR-10 class units, images 0-249, 1,203 LVIS names: accepted, strict")
    for network, problem in cifar10(data, names).items():
        for method in methods:
            held = count([words[i] for i in score(problem, method).argmax(1).tolist()])
            print(f"    {network} {method:30} {held.accepted:2}/10 {held.strict:2}/10", flush=True)


if __name__ == "__main__":
    main()
