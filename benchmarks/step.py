"""What a competition costs in training: the layer alone and a whole step, against the dense activation and against the
formulation that was published, side by side in one run.

    python benchmarks/step.py [--quick] [--threads 2] [--rounds 15]

Prints medians and ratios; the rounds interleave the variants, so that a busy machine slows all of them alike.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from competition_layers import competitions, create_model, lwta
from competition_layers.functional import gumbel_noise


class Published(nn.Module):
    """The formulation of DISCOVER's published code, from its description: adjacent groups, rand, two logs, softmax,
    scatter, three checks for values that are not finite (each of them a synchronisation on a GPU)."""

    def __init__(self, competitors: int, channel_dim: int):
        super().__init__()
        self.competitors, self.channel_dim = competitors, channel_dim

    def forward(self, h):
        x = h.movedim(self.channel_dim, -1).unflatten(-1, (-1, self.competitors))
        noise = -torch.log(-torch.log(torch.rand_like(x) + 1e-8) + 1e-8)
        if noise.isnan().any() or noise.isinf().any():
            raise OverflowError("noise")
        soft = ((x + noise) / 1.67).softmax(-1)
        hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        y = x * ((hard - soft).detach() + soft)
        if y.isnan().any():
            raise OverflowError("output")
        return y.flatten(-2).movedim(-1, self.channel_dim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller batches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rounds = 3 if options.quick else options.rounds
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {rounds} rounds\n")

    h = torch.randn(4 if options.quick else 16, 197, 768)
    table(f"the layer alone, forward and backward, {tuple(h.shape)}", layer_variants(h), rounds)
    for name, batch in (("deit_tiny_patch16_224", 4), ("resnet18", 8)):
        batch = 1 if options.quick else batch
        table(f"a training step of {name}, 224 px, batch {batch}, AdamW", step_variants(name, batch), rounds)


def layer_variants(h):
    variants = {"GELU": lambda: backward(F.gelu, h)}
    for u in (2, 8, 24):
        variants[f"ours, U={u}"] = lambda u=u: backward(lambda x: lwta(x, u, channel_dim=-1, noise=gumbel_noise(x)), h)
        variants[f"ours, U={u}, no noise"] = lambda u=u: backward(lambda x: lwta(x, u, channel_dim=-1), h)
        variants[f"published, U={u}"] = lambda u=u: backward(Published(u, -1), h)
    return variants


def step_variants(name, batch):
    def step_of(model):
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        x, y = torch.randn(batch, 3, 224, 224), torch.zeros(batch, dtype=torch.long)

        def step():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return step

    # 24 does not divide a ResNet's widths; 32 is the nearest that does
    widest = 24 if "deit" in name else 32
    variants = {"dense": step_of(create_model(name, competitors=1))}
    for u in (2, 8, widest):
        variants[f"ours, U={u}"] = step_of(create_model(name, competitors=u).train())
        variants[f"ours, U={u}, no noise"] = step_of(create_model(name, competitors=u, noise=0.0).train())
        published = create_model(name, competitors=u)
        for path, layer in competitions(published).items():
            parent, _, child = path.rpartition(".")
            setattr(published.get_submodule(parent), child, Published(u, layer.channel_dim))
        variants[f"published, U={u}"] = step_of(published.train())
    return variants


def backward(function, h):
    x = h.detach().requires_grad_()
    y = function(x)
    y.backward(y.detach())


def table(title, variants, rounds) -> None:
    """Run every variant once a round; print each median, and its ratio to the first."""
    times = {name: [] for name in variants}
    for i in range(rounds + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            if i:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians))
    print(f"{title}\n  {'':26}{'ms':>9}{'x ' + first:>10}")
    for name, median in medians.items():
        print(f"  {name:26}{median * 1e3:9.1f}{median / medians[first]:10.2f}")
    print()


if __name__ == "__main__":
    main()
