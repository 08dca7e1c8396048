"""The hidden units of a sparse network and its dense twin named by real CLIP embeddings, and ten test images explained.

    python benchmarks/cifar10_page.py [--data DIR] [--runs runs/accuracy] [--network vit] [--out DIR] [--quick]

The runs are those of `benchmarks/accuracy.py` (U = 8 and dense, seed 0). Probe images: the 500 lossless test images
with their CLIP ViT-B/32 embeddings; concepts: the 1,203 LVIS names; explained: images 250 to 259, which nothing was
chosen on. Everything is done by `lwta describe` and `lwta explain`.
"""

import argparse
import csv
import os
from pathlib import Path

from PIL import Image
from safetensors.numpy import load_file

from lwta.cli import main as lwta

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LWTA_SHARED_DATA", "../shared/data")))
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--network", choices=("vit", "resnet"), default="vit")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy/page"))
    parser.add_argument("--quick", action="store_true", help="three images")
    options = parser.parse_args()
    probe = options.data / "cifar10-clip" / "cifar10_test500_vit_b_32.safetensors"
    runs = {name: options.runs / f"{options.network}-{name}-0" for name in ("U=8", "dense")}
    missing = [str(path) for path in (probe, *runs.values()) if not path.exists()]
    if missing:
        print(f"nothing to do without {', '.join(missing)}")
        return
    for name, run in runs.items():
        call(
            *("describe", "--model", run, "--probe", probe, "--clip", probe, "--out", options.out / name),
            *("--concepts", options.data / "clip-text" / "lvis1203.txt"),
        )
        print(f"\n{name}: {summary(options.out / name)}\n")
    pictures = written(probe, range(250, 253 if options.quick else 260), options.out / "images")
    call("explain", "--dissection", options.out / "U=8", "--twin", options.out / "dense", *pictures)


def call(*words: object) -> None:
    """One `lwta` command."""
    if status := lwta([str(word) for word in words]):
        raise SystemExit(status)


def summary(dissection: Path) -> str:
    """How many units have a name, how many names there are, and the most frequent ones."""
    with (dissection / "descriptions.csv").open(newline="") as file:
        names = [row["description"] for row in csv.DictReader(file)]
    named = [name for name in names if name]
    often = sorted(set(named), key=named.count, reverse=True)[:8]
    counts = ", ".join(f"{name} ({named.count(name)})" for name in often)
    return f"{len(named)} of {len(names)} units named, {len(set(named))} different names; most often {counts}"


def written(probe: Path, which: range, folder: Path) -> list[Path]:
    """Some of the probe images as files, one folder a class."""
    data = load_file(probe)
    files = []
    for i in which:
        files.append(folder / CLASSES[int(data["labels"][i])] / f"{i}.png")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data["images"][i]).save(files[-1])
    return files


if __name__ == "__main__":
    main()
