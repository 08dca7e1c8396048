"""How long an attribution graph takes, of a DeiT-T and a ResNet-18 at 224 px with random weights.

python benchmarks/attribution_graph.py
"""

import time

import torch

from competition_layers import DecisionLayer, attribution_graph, create_model

NETWORKS = (("deit_tiny_patch16_224", 8, None), ("deit_tiny_patch16_224", 8, DecisionLayer()), ("resnet18", 8, None))


def main() -> None:
    torch.set_num_threads(2)
    for name, competitors, decision in NETWORKS:
        torch.manual_seed(0)
        model = create_model(name, competitors=competitors, num_classes=100, image_size=224, decision=decision).eval()
        image = torch.randn(1, 3, 224, 224)
        wall, cpu = time.perf_counter(), time.process_time()
        graph = attribution_graph(model, image)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{name}, U = {competitors}{', decision layer' if decision else ''}: {len(graph.nodes)} nodes, "
            f"{len(graph.edges)} edges in {wall:.1f} s ({cpu:.1f} s of CPU time); sums miss by {graph.gap:.1e}"
        )


if __name__ == "__main__":
    main()
