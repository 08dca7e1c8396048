"""What explanations cost: one picture of a DeiT-T and a ResNet-18, and a folder in batches against one by one.

Wall clock and CPU seconds, random weights; the ratio's three rounds take turns, so that a busy machine hits both.

python benchmarks/explaining.py [--quick] [--threads 2] [--part one|many]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from competition_layers import DecisionLayer, create_model
from dissect import explain, explain_graph, explain_many
from lwta.demo_networks import INCLUDE, MODEL_ARGS

ONE = (("deit_tiny_patch16_224", None), ("deit_tiny_patch16_224", DecisionLayer()), ("resnet18", DecisionLayer()))
REGIONS = DecisionLayer(64, 64, at="positions")
MANY = (  # of a folder: network, pixels, pictures, decision layer
    ("resnet18", 64, 32, REGIONS),  # the demo's
    ("resnet18", 64, 32, None),
    ("deit_tiny_patch16_224", 224, 6, DecisionLayer()),
)
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="tiny networks, few pictures")
    parser.add_argument("--part", choices=("one", "many"), help="by default both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    one, side = ((("test_vit", DecisionLayer()),), 64) if options.quick else (ONE, 224)
    for name, decision in () if options.part == "many" else one:
        model, (picture,) = network(name, side, decision), pictures(1, side)
        print(f"{name}, U = 8{', decision layer' if decision else ''}:")
        timed("explained and checked", lambda: explain(model, picture))  # noqa: B023
        graph = timed("attribution graph", lambda: explain_graph(model, picture)).graph  # noqa: B023
        print(f"  {len(graph.nodes)} nodes, {len(graph.edges)} edges; sums miss by {graph.gap:.0e}", flush=True)
    many = (("resnet18", 64, 4, REGIONS),) if options.quick else MANY
    for name, side, count, decision in () if options.part == "one" else many:
        model = network(name, side, decision)
        print(f"{count} pictures of {side} pixels, {name}{', decision layer' if decision else ''}:")
        in_turns(model, pictures(count, side))


def network(name: str, side: int, decision: DecisionLayer | None) -> Any:
    """With random weights; a ResNet of 64 pixels is the demo's."""
    torch.manual_seed(0)
    more = {"include": INCLUDE if decision else None, **MODEL_ARGS} if name == "resnet18" and side == 64 else {}
    return create_model(name, competitors=8, num_classes=100, image_size=side, decision=decision, **more).eval()


def pictures(count: int, side: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)]


def in_turns(model: Any, images: Sequence[Image.Image]) -> None:
    """CPU seconds a picture, one by one and in batches."""
    ways = {"one by one": lambda: [explain(model, image) for image in images],
            "in batches": lambda: list(explain_many(model, images))}  # fmt: skip
    explain(model, images[0])
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            start = time.process_time()
            run()
            seconds[way].append((time.process_time() - start) / len(images))
    alone, together = (median(found) for found in seconds.values())
    ratios = sorted(a / b for a, b in zip(*seconds.values(), strict=True))
    print(f"  {1000 * alone:.0f} ms of CPU time a picture one by one, {1000 * together:.0f} in batches: "
          f"{median(ratios):.1f} times faster ({ratios[0]:.1f} to {ratios[-1]:.1f})", flush=True)  # fmt: skip


def timed(what: str, call: Callable[[], Any]) -> Any:
    call()
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    print(f"  {what}: {time.perf_counter() - wall:.1f} s ({time.process_time() - cpu:.1f} s of CPU time)", flush=True)
    return found


if __name__ == "__main__":
    main()
