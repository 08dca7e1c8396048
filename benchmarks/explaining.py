"""What an explanation of one picture costs: wall clock and CPU seconds, of a DeiT-T and a ResNet-18 of random weights.

python benchmarks/explaining.py [--quick] [--threads 2]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from competition_layers import DecisionLayer, create_model
from dissect import explain, explain_graph

NETWORKS = (("deit_tiny_patch16_224", None), ("deit_tiny_patch16_224", DecisionLayer()), ("resnet18", DecisionLayer()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one tiny network at 64 pixels")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    networks, side = ((("test_vit", DecisionLayer()),), 64) if options.quick else (NETWORKS, 224)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    for name, decision in networks:
        torch.manual_seed(0)
        model = create_model(name, competitors=8, num_classes=100, image_size=side, decision=decision).eval()
        picture = Image.fromarray(pixels)
        print(f"{name}, U = 8{', decision layer' if decision else ''}:")
        timed("explained and checked", lambda: explain(model, picture))  # noqa: B023
        graph = timed("attribution graph", lambda: explain_graph(model, picture)).graph  # noqa: B023
        print(f"  {len(graph.nodes)} nodes, {len(graph.edges)} edges; sums miss by {graph.gap:.0e}", flush=True)


def timed(what: str, call: Callable[[], Any]) -> Any:
    call()
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    print(f"  {what}: {time.perf_counter() - wall:.1f} s ({time.process_time() - cpu:.1f} s of CPU time)", flush=True)
    return found


if __name__ == "__main__":
    main()
