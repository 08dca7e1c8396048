"""Competing units beside their twins: accuracy, calibration, label noise, corruptions, attack, what decides.

    python benchmarks/twins.py {scenes,cifar} [--frozen] [--out DIR] [--seeds 5] [--device cuda --workers 5] [--table]

Small networks at 32 px (`small_networks.py`), each trained through from its start: 12 epochs of 3,000 scenes or 6,000
pictures, a few minutes a seed on a GPU, an hour on a core; with --frozen, every kind of units on one frozen backbone
that was trained shortly on few, a minute a seed on a core. Pictures: painted scenes of ten classes, or the lossy JPEG
copies of CIFAR-10. Once all training labels are right, once 40 % are wrong (drawn evenly from the other classes). On
clean test pictures: accuracy, log-loss, calibration error, also after temperature scaling. Of the networks without
wrong labels also

    robust      accuracy on corrupted pictures (fifteen kinds, five strengths) and under attack (PGD, 2/255, ten steps;
                for units that compete on argmax, and on the average of 8 draws with gradients averaged likewise)
    decisions   units for 90 % of the lead, smallest sufficient and necessary sets, areas under the deletion and the
                insertion curve, beside those in random order
    meaning     MS score of the units, beside that of the same network before training and of a unit that answers to
                all pictures alike (scenes: the bundled CLIP; CIFAR-10: 500 lossless pictures with CLIP ViT-B/32)

Every seed is a JSON file: what is finished is not done again.
"""

import argparse
import io
import json
import random
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from class_units import CLASSES, find_data
from PIL import Image
from runs import add_machine_options, in_processes, interval, one_thread
from safetensors.torch import load_file, save_file
from small_networks import KINDS, THROUGH, Network, features_of, frozen_networks, through_network
from torch import Tensor

from competition_layers import DecisionHead, StochasticLWTA, predict, votes
from competition_layers.decision_figures import curve_areas, necessary_units, sufficient_units, units_for_lead
from competition_layers.files import write_file
from dissect import LayerRecord, load_encoder
from dissect.comparing.attack import pgd
from dissect.comparing.calibration import measure_calibration
from dissect.comparing.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from dissect.comparing.monosemanticity import alike_of
from dissect.editing.refitting import head_inputs
from pictures.scenes import SCENES, paint

SIDE, CENTRE, SPREAD = 32, 0.5, 0.25
WRONG = (0.0, 0.4)
LABELS = {"scenes": SCENES, "cifar": CLASSES}
EPOCHS = {"scenes-frozen": 8, "cifar-frozen": 6, "scenes": 12, "cifar": 12}
SIZES = {
    "scenes-frozen": {"train": 1000, "test": 600, "corrupted": 50, "attacked": 50},
    "cifar-frozen": {"train": 1500, "test": 600, "corrupted": 50, "attacked": 50},
    "scenes": {"train": 3000, "test": 2000, "corrupted": 100, "attacked": 200},
    "cifar": {"train": 6000, "test": 2000, "corrupted": 100, "attacked": 200},
}
AREAS = ("deletion", "insertion", "deletion, random", "insertion, random")
FIGURES = {  # by table: column, and what the values are times
    "with all labels right": {"accuracy": 100, "nll": 1, "error": 100, "error_scaled": 100},
    "robust": {"corrupted": 100, "attacked": 100, "attacked, drawn": 100},
    "decisions": dict.fromkeys(("lead", "sufficient", "necessary", *AREAS), 1),
    "meaning": dict.fromkeys(("MS median", "MS best", "MS untrained", "MS of all"), 1),
}


def pictures(asked: argparse.Namespace) -> Path:
    """A file of training, test and probe pictures (32 px), classes of the first two, embeddings of the last."""
    path = asked.out / f"pictures-{asked.what}-{asked.sizes['train']}.safetensors"
    if not path.is_file():
        with write_file(path) as temporary:
            save_file((_scenes if asked.what == "scenes" else _cifar)(asked.sizes), temporary)
    return path


def _scenes(sizes: dict[str, int]) -> dict[str, Tensor]:
    found, encoder = {}, load_encoder("bundled")
    for split, source in (("train", "train"), ("test", "val")):
        scenes = [paint(source, i) for i in range(sizes[split])]
        found[split] = _stacked(scene.image.resize((SIDE, SIDE), Image.Resampling.BOX) for scene in scenes)
        found[f"{split}.labels"] = torch.tensor([SCENES.index(scene.label) for scene in scenes])
    made = torch.stack([encoder.preprocess(scene.image) for scene in scenes])
    with torch.no_grad():
        seen = torch.cat([encoder.encode_batch(part) for part in made.split(100)])
    return {**found, "probe": found["test"].clone(), "probe.embeddings": seen}


def _cifar(sizes: dict[str, int]) -> dict[str, Tensor]:
    names: dict[str, list[str]] = {"train": [], "test": []}
    with tarfile.open(find_data() / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        for member in archive:
            if member.isfile() and member.name.split("/")[-2] in CLASSES:
                names[member.name.split("/")[-3]].append(member.name)
    chosen = {split: random.Random(0).sample(sorted(known), sizes[split]) for split, known in names.items()}
    wanted = {name for each in chosen.values() for name in each}
    with tarfile.open(find_data() / "cifar10_jpeg_imagefolder.tar.gz") as archive:
        data = {member.name: archive.extractfile(member).read() for member in archive if member.name in wanted}
    found = {}
    for split, each in chosen.items():
        found[split] = _stacked(Image.open(io.BytesIO(data[name])).convert("RGB") for name in each)
        found[f"{split}.labels"] = torch.tensor([CLASSES.index(name.split("/")[-2]) for name in each])
    lossless = load_file(find_data() / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors")
    return {**found, "probe": lossless["images"], "probe.embeddings": lossless["embeddings"].float()}


def _stacked(images: Iterator[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images]))


def inputs(images: Tensor) -> Tensor:
    return (images.permute(0, 3, 1, 2).float() / 255 - CENTRE) / SPREAD


@cache
def corrupted(path: Path, count: int) -> dict[str, Tensor]:
    """The first test pictures in a file under each corruption and strength."""
    images = [Image.fromarray(image.numpy()) for image in load_file(path)["test"][:count]]
    every = ((name, 1 + strength) for name in CORRUPTIONS for strength in range(STRENGTHS))
    return {
        f"{name} {strength}": inputs(_stacked(corrupt(image, name, strength, side=SIDE) for image in images))
        for name, strength in every
    }


def rows_of(seed: int, asked: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """By share of wrong labels and kind of units: figures on the test pictures."""
    labels, sizes, path = LABELS[asked.what], asked.sizes, pictures(asked)
    data = load_file(path)
    x, test, probe = (inputs(data[split]).to(asked.device) for split in ("train", "test", "probe"))
    y_test = data["test.labels"]
    learnt = {"labels": labels, "epochs": asked.epochs, "seed": seed}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for share in WRONG:
        y, rows = with_wrong(data["train.labels"], share, seed, len(labels)).to(asked.device), {}
        made = frozen_networks(x, y, **learnt) if asked.frozen else {}
        for kind in kinds(asked.frozen, share):
            network = made.get(kind) or through_network(kind, x, y, **learnt)
            features = features_of(network.backbone, test)
            rows[kind] = figures(network.head, features, y_test)
            if not share:
                moved = corrupted(path, sizes["corrupted"])
                rows[kind] |= on_corrupted(network, moved, y_test[: sizes["corrupted"]])
                rows[kind] |= attacked(network, test[: sizes["attacked"]], y_test[: sizes["attacked"]])
                rows[kind] |= deciding(network.head, features)
                rows[kind] |= meaning(network, probe, data["probe.embeddings"])
                if not asked.frozen:
                    start = through_network(kind, x, y, **(learnt | {"epochs": 0}))
                    rows[kind]["MS untrained"] = meaning(start, probe, data["probe.embeddings"])["MS median"]
        found[str(share)] = rows
    return found


def kinds(frozen: bool, share: float) -> tuple[str, ...]:
    """Those that are measured; the penalty of L1 stands for few active units, and is left out with wrong labels."""
    return KINDS if frozen else tuple(kind for kind in THROUGH if not (share and kind == "L1"))


def with_wrong(true: Tensor, share: float, seed: int, classes: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    other = (true + torch.randint(1, classes, true.shape, generator=generator)) % classes
    return torch.where(torch.rand(true.shape, generator=generator) < share, other, true)


def figures(head: DecisionHead, features: Tensor, y: Tensor) -> dict[str, float]:
    logits = predict(head, features).cpu()
    measured = measure_calibration(logits, y)
    accuracy = float((logits.argmax(1) == y).float().mean())
    return {"accuracy": accuracy, **{key: getattr(measured, key) for key in ("nll", "error", "error_scaled")}}


def on_corrupted(network: Network, moved: dict[str, Tensor], y: Tensor) -> dict[str, float]:
    device = next(network.parameters()).device
    said = {key: predict(network, x.to(device)).argmax(1).cpu() for key, x in moved.items()}
    shares = {key: float((each == y).float().mean()) for key, each in said.items()}
    return {**shares, "corrupted": mean(shares.values())}


def attacked(network: Network, x: Tensor, y: Tensor) -> dict[str, float]:
    competes, shares = isinstance(network.head.decision, StochasticLWTA), {}
    scale = (x.new_full((3, 1, 1), CENTRE), x.new_full((3, 1, 1), SPREAD))
    for name, draws in (("attacked", 0), ("attacked, drawn", 8 * competes)):
        if shares and not draws:  # nothing is drawn: one network
            shares[name] = shares["attacked"]
            continue
        moved = pgd(network, x, y.to(x.device), scale, draws=draws)
        said = predict(network, moved, samples=draws, generator=torch.Generator().manual_seed(0)).argmax(1).cpu()
        shares[name] = float((said == y).float().mean())
    return shares


def deciding(head: DecisionHead, features: Tensor) -> dict[str, float]:
    """Means over pictures."""
    found = votes(head.cpu(), features.cpu())
    best, drawn = curve_areas(found), curve_areas(found, generator=torch.Generator().manual_seed(0))
    return {
        "lead": float(units_for_lead(found).float().mean()),
        "sufficient": float(sufficient_units(found).float().mean()),
        "necessary": float(necessary_units(found).float().mean()),
        **{name: float(area.mean()) for name, area in zip(AREAS, (*best, *drawn), strict=True)},
    }


def meaning(network: Network, probe: Tensor, embeddings: Tensor) -> dict[str, float]:
    said = head_inputs(network.head.cpu(), features_of(network.backbone, probe).cpu().split(250))
    won = {"mean": said != 0} if (said == 0).any() else None
    found = alike_of(LayerRecord("decision", {"mean": said}, won), "mean", embeddings)
    return {"MS median": found.median, "MS best": found.best, "MS of all": found.chance}


def tell(asked: argparse.Namespace) -> None:
    """Means over seeds; in brackets the paired difference to the competing units, with half of its 95 % interval."""
    paths = [file_of(seed, asked) for seed in range(asked.seeds)]
    found = [json.loads(path.read_text()) for path in paths if path.is_file()]
    print(f"\n## {asked.what}{', frozen' * asked.frozen}: {len(found)} of {asked.seeds} seeds")
    if not found:
        return
    clean, wrong = FIGURES["with all labels right"], f"{WRONG[1]:.0%} of the labels wrong"
    for share, title, columns in [(WRONG[0], *each) for each in FIGURES.items()] + [(WRONG[1], wrong, clean)]:
        table = {kind: [one[str(share)][kind] for one in found] for kind in kinds(asked.frozen, share)}
        shown = [name for name in columns if name in table["competing"][0]]
        print(f"\n### {title}\n\n| units | {' | '.join(shown)} |\n|---|{'---:|' * len(shown)}")
        for kind, rows in table.items():
            print(f"| {kind} | {' | '.join(cell(rows, table['competing'], name, columns[name]) for name in shown)} |")
    every = kinds(asked.frozen, WRONG[0])
    print(f"\n### accuracy under each corruption, strengths 1 and 5\n\n| kind | {' | '.join(every)} |")
    print("|---|" + "---:|" * len(every))
    for name in CORRUPTIONS:
        ends = (
            [100 * mean(one["0.0"][kind][f"{name} {s}"] for one in found) for s in (1, STRENGTHS)] for kind in every
        )
        print(f"| {name} | " + " | ".join(f"{weak:.1f}, {strong:.1f}" for weak, strong in ends) + " |")


def cell(rows: list[dict[str, float]], competing: list[dict[str, float]], name: str, times: int) -> str:
    digits = 1 if times == 100 or name in ("lead", "sufficient", "necessary") else 3
    apart = [times * (row[name] - base[name]) for row, base in zip(rows, competing, strict=True)]
    beside = "" if rows is competing else f" ({interval(apart, sign='+', digits=digits)})"
    return f"{times * mean(row[name] for row in rows):.{digits}f}{beside}"


def file_of(seed: int, asked: argparse.Namespace) -> Path:
    return asked.out / f"{asked.what}{'-frozen' * asked.frozen}-{seed}.json"


def run(seed: int, asked: argparse.Namespace) -> None:
    """One seed, where it is not finished."""
    path = file_of(seed, asked)
    if not path.is_file():
        rows = rows_of(seed, asked)
        with write_file(path) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))
        print(f"seed {seed}: " + ", ".join(f"{k} {v['accuracy']:.3f}" for k, v in rows["0.0"].items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=tuple(LABELS), default="scenes")
    parser.add_argument("--frozen", action="store_true", help="every kind of units on one frozen backbone")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-twins"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    parser.add_argument("--quick", action="store_true", help="few pictures, one seed")
    add_machine_options(parser)
    asked = parser.parse_args()
    setting = asked.what + "-frozen" * asked.frozen
    asked.sizes, asked.epochs = SIZES[setting], EPOCHS[setting]
    if asked.quick:
        asked.out, asked.seeds, asked.epochs = asked.out / "quick", 1, 1
        asked.sizes = {"train": 200, "test": 60, "corrupted": 10, "attacked": 10}
    if asked.what == "cifar" and not find_data().is_dir():
        raise SystemExit(f"Expected real data in {find_data()}, which is not there")
    one_thread()
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.table:
        pictures(asked)
        in_processes(run, [(seed, asked) for seed in range(asked.seeds)], workers=asked.workers)
    tell(asked)


if __name__ == "__main__":
    main()
