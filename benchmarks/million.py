"""A million pictures on one GPU: decision layers fitted on features that are there already.

    python benchmarks/million.py [--device cuda] [--quick]

Made features: a million of 512 numbers in half precision, of 1,000 classes, clouds around centres. 20 epochs of batches
of 4,096; one setting, then the eight of `decision.py curve` side by side.
"""

import argparse
import time

import torch
from decision import CURVE, LAYER

from training.decision.fitting import Fitting, fit_decisions, logits_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--quick", action="store_true", help="twenty thousand, one epoch")
    asked = parser.parse_args()
    count, epochs = (20_000, 1) if asked.quick else (1_000_000, 20)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(1000, (count,), generator=generator).to(asked.device)
    centres = torch.randn(1000, 512, generator=generator).to(asked.device)
    features = torch.cat([(centres[c] + 2 * torch.randn_like(centres[c])).half() for c in labels.split(50_000)])
    for layers in ([LAYER], CURVE):
        start = time.perf_counter()
        *_, head = fit_decisions(features, labels, layers, fitting=Fitting(epochs, 4096))
        right = (logits_of(head, features[:10_000]).argmax(1) == labels[:10_000]).float().mean().item()
        seconds = time.perf_counter() - start
        print(f"settings: {len(layers)}; {seconds:.1f} s on {asked.device}; {100 * right:.1f} % right", flush=True)


if __name__ == "__main__":
    main()
