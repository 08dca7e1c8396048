"""What naming costs beside running the networks: the whole of `describe` against a bare loop with the same loader, and
time and memory as the images grow in number.

    python benchmarks/describe.py [--quick] [--threads 2] [--images 800] [--network resnet50] [--side 224]

First table: five layers of a network, photo-sized JPEGs generated once, 3,000 phrases, naming included, the networks'
weights at random. The bare loop decodes the same pictures by the same loader, in the same batches and threads, and runs
both networks; the two take turns. Second table: a small network at 32 px, each size in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import nn

from competition_layers import create_model
from dissect import ConceptSet, DescribeOptions, describe, load_encoder, open_probe
from dissect.describing import record_share
from dissect.probe.passes import shared_batches
from dissect.probe.probe_images import ProbeImages
from dissect.recording.shards import LARGEST
from dissect.recording.subject import default_transform

PHRASES = 3000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, a small network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--growing", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.growing:
        print(json.dumps(recorded(options.growing)))
        return
    if options.quick:
        options.images, options.network, options.side, options.rounds = 60, "resnet18", 64, 1
    print(f"torch {torch.__version__}, {options.threads} threads\n")
    with TemporaryDirectory() as place:
        beside_a_bare_loop(Path(place), options)
    growing((250, 1000) if options.quick else (1000, 10_000, 100_000), options.threads)


def beside_a_bare_loop(place: Path, options: argparse.Namespace) -> None:
    photos = place / "photos"
    take_photos(photos, options.images)
    model = create_model(options.network, competitors=1, image_size=options.side).eval()
    layers = ["act1", "layer1", "layer2", "layer3", "layer4"]
    encoder = load_encoder("bundled", batch_size=options.batch_size)
    transform = default_transform(model)

    def bare() -> None:
        probe = open_probe(photos)
        ends = range(0, len(probe), options.batch_size)
        runs = [range(at, min(at + options.batch_size, len(probe))) for at in ends]
        with torch.no_grad():
            for _, (x, z) in shared_batches(probe, [transform, encoder.preprocess], runs):
                model(x)
                encoder.encode_batch(z)

    def whole() -> None:
        out = place / f"out{len(times['describe'])}"
        probe, words = open_probe(photos), phrases(encoder)
        describe(model, probe, words, encoder, out, DescribeOptions(layers, batch_size=options.batch_size))

    times: dict[str, list[float]] = {"bare loop": [], "describe": []}
    for _ in range(options.rounds):
        times["bare loop"].append(seconds(bare))
        times["describe"].append(seconds(whole))
    print(f"{options.network} at {options.side} px, {options.images} photos, {PHRASES} phrases, five layers\n")
    print("| | seconds | ratio |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {min(taken):.1f} | {min(taken) / min(times['bare loop']):.3f} |")
    ratios = ", ".join(f"{b / a:.3f}" for a, b in zip(*times.values(), strict=True))
    print(f"\nratio in each round: {ratios} (aim: at most 1.10)\n")


def growing(sizes: tuple[int, ...], threads: int) -> None:
    print("Recording a small network at 32 px\n")
    print("| images | seconds | images a second | peak memory, MiB | its rise while recording, MiB |")
    print("|---|---|---|---|---|")
    for images in sizes:
        command = [sys.executable, __file__, "--growing", str(images), "--threads", str(threads)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        speed = images / found["seconds"]
        print(f"| {images} | {found['seconds']:.1f} | {speed:.0f} | {found['peak']:.0f} | {found['rise']:.1f} |")


def recorded(images: int) -> dict[str, float]:
    """Seconds of checking and recording so many pictures into a folder, and how far memory rose above the probe's."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.Conv2d(64, 128, 3, stride=2), nn.ReLU()).eval()
    options = DescribeOptions(["1", "3"], transform=to_tensor)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        few = open_probe(write_pictures(place / "few.safetensors", 2 * LARGEST))
        record_share(model, few, MeanColour(), place / "few", (0, 1), options)  # what torch allocates once
        write_pictures(place / "images.safetensors", images)
        start = time.perf_counter()
        probe = open_probe(place / "images.safetensors")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        record_share(model, probe, MeanColour(), place / "out", (0, 1), options)
        taken = time.perf_counter() - start
    rise = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": taken, "peak": before / 1024 + rise, "rise": rise}


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


class MeanColour:
    """An encoder that costs nothing, since recording is what is measured; its words are the names of colours."""

    identity = "mean colour"
    preprocess = staticmethod(to_tensor)

    def encode_batch(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))

    def encode_images(self, probe: ProbeImages) -> torch.Tensor:
        return self.encode_batch(torch.stack([to_tensor(probe[i]) for i in range(len(probe))]))

    def encode_texts(self, concepts: ConceptSet) -> torch.Tensor:
        return torch.tensor([ImageColor.getrgb(name) for name in concepts.names]) / 127.5 - 1

    def known(self, concepts: ConceptSet) -> tuple[ConceptSet, int]:
        return concepts, 0


def write_pictures(path: Path, images: int) -> Path:
    """A safetensors file of random pictures, written piece by piece."""
    shape, random = [images, 32, 32, 3], np.random.default_rng(0)
    header = json.dumps({"images": {"dtype": "U8", "shape": shape, "data_offsets": [0, images * 3072]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for at in range(0, images, 1000):
            file.write(random.bytes(min(1000, images - at) * 3072))
    return path


def take_photos(folder: Path, images: int) -> None:
    """JPEGs of 500 x 375 pixels with the detail of photographs: noise at every scale."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(images):
        photo = np.zeros((375, 500, 3))
        for side in (4, 16, 64, 256):
            coarse = random.normal(size=(side, side, 3)) * 60 / side**0.5
            levels = np.stack([_spread(coarse[..., c]) for c in range(3)], -1)
            photo += levels
        Image.fromarray((photo + 128).clip(0, 255).astype(np.uint8)).save(folder / f"{i:05d}.jpg", quality=90)


def _spread(coarse: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((500, 375), Image.Resampling.BICUBIC))


def phrases(encoder) -> ConceptSet:
    """As many phrases as are asked for, of words that the encoder knows."""
    words = sorted(encoder.words)
    pairs = (f"{a} {b}" for a in words for b in words if a != b)
    return ConceptSet(tuple(islice(pairs, PHRASES)), source="pairs of words")


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
