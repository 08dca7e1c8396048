"""Networks trained through to a decision layer, against the same networks with other heads: short trainings compared.

    python benchmarks/decision_through.py [--network resnet vit scenes] [--seeds 5] [--out DIR] [--table] [--quick]

resnet, vit: a small ResNet and a small ViT on 10,000 pictures of CIFAR-10 (lossy JPEGs, 32 px), 2,000 of train/ held
out for choices, all 10,000 test pictures; scenes: the same ResNet on 4,000 painted scenes of 32 px, 1,000 for choices,
2,000 to test. A run takes 10 to 25 seconds of one core, so these are short trainings: the heads are compared,
the accuracy is not what the networks could reach.

Heads: the decision layer (of settings screened on the held-out pictures with seed 0), linear, and of the same width
ReLU, GELU and top-k with as many active units. One recipe, the same initial backbone, the same batches: paired by
seed. A linear head with an L1 penalty is left out: its weights stay dense until they are cut and the head is trained
on, which on a backbone that still moves is another recipe; on frozen features it is a row of `decision.py`.

Every run is a JSON file: what is finished is not done again, and a partial table says so. The test pictures are read
once for each run. The models of scenes that end in a decision layer are saved: `lwta describe` names their units.
"""

import argparse
import io
import json
import math
import random
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch
import torch.nn.functional as F
from class_units import CLASSES, find_data
from decision import TopK, dense_head, figures, linear_head
from PIL import Image
from runs import interval
from safetensors.torch import load_file, save_file
from small_networks import PLAN
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from competition_layers import DecisionHead, DecisionLayer, add_decision, create_model, save_model, seed_noise, votes
from competition_layers.files import write_file
from competition_layers.metrics import deciding_units
from pictures.scenes import SCENES, paint
from training.decision.balance import Balance

SIZES = {"train": 10_000, "val": 2_000, "test": 10_000}
SCENE_SIZES = {"train": 4_000, "val": 1_000, "test": 2_000}
SCREENED = (  # the first group pooled, the last two at positions
    DecisionLayer(160, 32),
    DecisionLayer(160, 32, noise_scale=0.3, balance=0.1),
    DecisionLayer(64, 16, noise_scale=0.3),
)
AT_POSITIONS = (
    DecisionLayer(64, 16, at="positions", noise_scale=0.3),
    DecisionLayer(64, 64, at="positions", noise_scale=0.3),
)
COLUMNS = ("active", "units", "winners", "sufficient", "necessary", "serves", "dead")


@dataclass(frozen=True)
class Network:
    """A backbone, how long it is trained, and which decision layers are tried."""

    backbone: str
    model_args: dict
    epochs: int
    lr: float
    layers: tuple[DecisionLayer, ...]
    label_names: tuple[str, ...] = CLASSES


VIT = {"patch_size": 4, "embed_dim": 48, "depth": 3, "num_heads": 2}
NETWORKS = {
    "resnet": Network("resnet18", PLAN, 2, 4e-3, SCREENED + AT_POSITIONS),
    "vit": Network("vit_tiny_patch16_224", VIT, 2, 2e-3, SCREENED),
    "scenes": Network("resnet18", PLAN, 4, 4e-3, SCREENED, tuple(SCENES)),
}


def in_words(layer: DecisionLayer) -> str:
    return (
        f"decision layer, {layer.at}, {layer.units} / {layer.competitors}, "
        f"noise {layer.noise_scale:g}, balance {layer.balance:g}"
    )


def twins(layer: DecisionLayer) -> dict[str, Callable[[int, int], DecisionHead]]:
    """Heads without competition as wide as `layer`: from the number of features and of classes."""
    return {
        "linear": lambda f, c: linear_head(f, c, layer),
        f"ReLU, {layer.units} units": lambda f, c: dense_head(f, c, layer, nn.ReLU()),
        f"GELU, {layer.units} units": lambda f, c: dense_head(f, c, layer, nn.GELU()),
        f"top-{layer.groups} of {layer.units}": lambda f, c: dense_head(f, c, layer, TopK(layer.groups)),
    }


def build(network: Network, head: DecisionLayer | Callable[[int, int], DecisionHead], seed: int) -> nn.Module:
    """The network at its start: the backbone is the same for every head."""
    torch.manual_seed(seed)
    classes = {"num_classes": len(network.label_names), "label_names": network.label_names}
    options = {**classes, "image_size": 32, "competitors": 1, **network.model_args}
    if isinstance(head, DecisionLayer):
        model = create_model(network.backbone, decision=head, **options)
        seed_noise(model, seed)
        return model
    model = create_model(network.backbone, **options)
    made = head(model.num_features, model.num_classes)
    add_decision(model, made.options, head=made)
    model.decision = made.decision
    return model


def train(network: Network, head: DecisionLayer | Callable, split: dict[str, Tensor], *, epochs: int, seed: int):
    """AdamW, one cycle, batches of 64, mirrored at random."""
    x, y = split["train"], split["train_labels"]
    model = build(network, head, seed).to(memory_format=torch.channels_last).train()
    balance = Balance(model) if isinstance(head, DecisionLayer) else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=network.lr, weight_decay=0.05, fused=True)
    steps = epochs * math.ceil(len(x) / 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, network.lr, total_steps=steps, pct_start=0.2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            mirrored = torch.rand(len(batch), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], x[batch].flip(-1), x[batch])
            loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), y[batch])
            if balance:
                loss = loss + head.balance * balance.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def read(model: nn.Module, split: dict[str, Tensor], which: str) -> dict[str, float]:
    """The figures of `decision.py`, and how many winners at places carry 90 % of the lead."""
    found = votes(model, split[which][:2000])
    first, second = found.logits.topk(2, dim=1).indices.unbind(1)
    winners = deciding_units(found.to_lead(first, second).flatten(1), share=0.9).sum(1)
    return figures(model, split[which], split[f"{which}_labels"]) | {"winners": winners.float().median().item()}


def pictures(name: str, out: Path, sizes: dict[str, int]) -> dict[str, Tensor]:
    """Every split as the network takes it, made once."""
    path = out / f"pictures-{'scenes' if name == 'scenes' else 'cifar'}.safetensors"
    if not path.is_file():
        splits = _scenes(sizes) if name == "scenes" else _cifar(sizes)
        tensors = {k: v for split, x, y in splits for k, v in ((split, x), (f"{split}_labels", y))}
        with write_file(path) as temporary:
            save_file(tensors, temporary)
    return load_file(path)


def _scenes(sizes: dict[str, int]) -> Iterator[tuple[str, Tensor, Tensor]]:
    for split, count in sizes.items():
        scenes = [paint(split, i) for i in range(count)]
        images = [scene.image.resize((32, 32), Image.Resampling.BOX) for scene in scenes]
        yield split, _inputs(images), torch.tensor([SCENES.index(scene.label) for scene in scenes])


def _cifar(sizes: dict[str, int]) -> Iterator[tuple[str, Tensor, Tensor]]:
    found: dict[str, list[tuple[bytes, int]]] = {"train": [], "test": []}
    with tarfile.open(find_data() / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and parts[-2] in CLASSES:
                found[parts[-3]].append((archive.extractfile(member).read(), CLASSES.index(parts[-2])))
    random.Random(0).shuffle(found["train"])
    found["val"] = found["train"][45_000:]
    for split, count in sizes.items():
        kept = found[split][:count]
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in kept]
        yield split, _inputs(images), torch.tensor([label for _, label in kept])


def _inputs(images: Sequence[Image.Image]) -> Tensor:
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).float() / 255
    mean, std = torch.tensor(IMAGENET_DEFAULT_MEAN), torch.tensor(IMAGENET_DEFAULT_STD)
    return ((pixels - mean) / std).movedim(-1, 1).contiguous()


def screen(name: str, split: dict[str, Tensor], out: Path, epochs: int) -> tuple[DecisionLayer, ...]:
    """The settings that are best on the held-out pictures: pooled, and at positions where those are tried."""
    found = {}
    for layer in NETWORKS[name].layers:
        path = out / f"{name}-choice-{_safe(in_words(layer))}.json"
        if not path.is_file():
            model = train(NETWORKS[name], layer, split, epochs=epochs, seed=0)
            _write(path, {"head": in_words(layer)} | read(model, split, "val"))
        found[layer] = json.loads(path.read_text())["accuracy"]
        print(f"{name}, held-out pictures: {in_words(layer)}: {100 * found[layer]:.2f} %", flush=True)
    ways = dict.fromkeys(layer.at for layer in found)
    return tuple(max((layer for layer in found if layer.at == at), key=found.__getitem__) for at in ways)


def run(name: str, seeds: Sequence[int], split: dict[str, Tensor], out: Path, epochs: int) -> Iterator[None]:
    """Screen, then every head with every seed, a step each; what is done stays done."""
    chosen = screen(name, split, out, epochs)
    heads = {in_words(layer): layer for layer in chosen} | twins(chosen[0])
    _write(out / f"{name}-heads.json", {"heads": list(heads), "seeds": len(seeds)})
    for seed in seeds:
        for head, made in heads.items():
            path = out / f"{name}-{_safe(head)}-seed{seed}.json"
            if path.is_file():
                continue
            yield
            start = time.process_time()
            model = train(NETWORKS[name], made, split, epochs=epochs, seed=seed)
            if name == "scenes" and isinstance(made, DecisionLayer):
                save_model(model, out / f"{name}-{made.at}-seed{seed}")
            found = read(model, split, "test")
            _write(path, found | {"seconds": time.process_time() - start})
            print(f"{name}, seed {seed}, {head}: {100 * found['accuracy']:.2f} %", flush=True)


def tell(name: str, out: Path) -> None:
    """The heads over the seeds, with the paired difference to the pooled decision layer."""
    asked = json.loads((out / f"{name}-heads.json").read_text())
    paths = {
        head: [out / f"{name}-{_safe(head)}-seed{s}.json" for s in range(asked["seeds"])] for head in asked["heads"]
    }
    rows = {h: {s: json.loads(p.read_text()) for s, p in enumerate(ps) if p.is_file()} for h, ps in paths.items()}
    done, all_of = sum(map(len, rows.values())), len(rows) * asked["seeds"]
    print(f"\n### {name}, trained through{'' if done == all_of else f' (PARTIAL: {done} of {all_of} runs)'}\n")
    columns = (
        "active units | units for 90 % of the lead | winners for it | sufficient | necessary | classes a unit serves"
    )
    print(f"| head | accuracy | less the decision layer's | {columns} | dead | seconds |\n|---|{'---:|' * 10}")
    own = rows[asked["heads"][0]]
    for head, found in rows.items():
        if not found:
            continue
        apart = [100 * (found[s]["accuracy"] - own[s]["accuracy"]) for s in found if s in own]
        figure = {c: (median if c in ("units", "winners") else mean)([r[c] for r in found.values()]) for c in COLUMNS}
        words = [interval([100 * r["accuracy"] for r in found.values()])]
        words += ["" if found is own else interval(apart, sign="+")]
        words += [f"{figure[c]:.1f}" for c in COLUMNS[:-1]] + [f"{100 * figure['dead']:.1f} %"]
        print(f"| {head} | {' | '.join(words)} | {mean(r['seconds'] for r in found.values()):.0f} |")


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)


def _write(path: Path, value: object) -> None:
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-through"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after so many")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    parser.add_argument("--quick", action="store_true", help="scenes, one seed, one epoch of few pictures")
    asked, start = parser.parse_args(), time.monotonic()
    torch.set_num_threads(1)
    if asked.quick:
        asked.out, asked.network, asked.seeds = asked.out / "quick", ["scenes"], 1
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.network:
        if name != "scenes" and not find_data().is_dir():
            print(f"no CIFAR-10 in {find_data()}: nothing to do for {name}")
            continue
        if not asked.table:
            sizes = SCENE_SIZES if name == "scenes" else SIZES
            split = pictures(name, asked.out, dict.fromkeys(sizes, 200) if asked.quick else sizes)
            epochs = 1 if asked.quick else NETWORKS[name].epochs
            for _ in run(name, range(asked.seeds), split, asked.out, epochs):
                if time.monotonic() - start > 60 * asked.minutes:
                    break
        if (asked.out / f"{name}-heads.json").is_file():
            tell(name, asked.out)


if __name__ == "__main__":
    main()
