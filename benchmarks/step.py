"""What a competition costs in training: the layer alone and a whole step, against the dense activation and against the
formulation that was published, side by side in one run.

    python benchmarks/step.py [--quick] [--only layer|deit|resnet] [--competitors 2 8] [--compiled] [--cpu-time]
    python benchmarks/step.py --device cuda --batch 256 [--bf16] [...]

Prints medians, ratios and what autograd keeps for backward; the rounds interleave the variants, so that a busy machine
slows all of them alike; `--cpu-time` (with `--threads 1`) counts what the processor did, where others use it too.
`--compiled` adds each variant under torch.compile (a C++ compiler, and a minute a network).
"""

import argparse
import time
from functools import partial

import torch
import torch.nn.functional as F
from runs import in_turns
from torch import nn

from competition_layers import Competition, StochasticLWTA, competitions, create_model


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
    parser.add_argument("--competitors", type=int, nargs="+", help="by default 2, 8, 24; 32 for 24 in ResNets")
    parser.add_argument("--compiled", action="store_true", help="also under torch.compile")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of the processor, not of the clock")
    parser.add_argument("--only", choices=("layer", "deit", "resnet"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="by default 16 for the layer, 4 for the DeiT, 8 for the ResNet")
    parser.add_argument("--bf16", action="store_true", help="under autocast to bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_gpu = options.device.startswith("cuda")
    turns = partial(
        in_turns,
        rounds=3 if options.quick else options.rounds,
        clock=time.process_time if options.cpu_time else time.perf_counter,
        finish=torch.cuda.synchronize if on_gpu else lambda: None,
    )
    machine = torch.cuda.get_device_name() if on_gpu else f"{options.threads} threads"
    print(f"torch {torch.__version__}, {machine}, medians of {turns.keywords['rounds']} rounds\n")

    compiled = torch.compile if options.compiled else None
    if options.only in (None, "layer"):
        h = torch.randn(4 if options.quick else options.batch or 16, 197, 768, device=options.device)
        h = h.bfloat16() if options.bf16 else h
        functions = layer_variants(options.competitors or (2, 8, 24))
        kept = {name: kept_bytes(function, h) for name, function in functions.items()}
        runs = {name: partial(backward, function, h) for name, function in with_compiled(functions, compiled).items()}
        table(f"the layer alone, forward and backward, {tuple(h.shape)}", runs, turns, kept)
    for name, batch in (("deit_tiny_patch16_224", 4), ("resnet18", 8)):
        if options.only is None or name.startswith(options.only):
            batch = 1 if options.quick else options.batch or batch
            widest = 24 if "deit" in name else 32  # 24 does not divide a ResNet's widths; 32 is the nearest that does
            models = step_variants(name, compiled, options.competitors or (2, 8, widest))
            runs = {
                key: step_of(model.to(options.device).train(), batch, bf16=options.bf16)
                for key, model in models.items()
            }
            table(f"a training step of {name}, 224 px, batch {batch}, AdamW", runs, turns)


OURS = {
    "": Competition(),
    ", softmax": Competition(estimator="softmax"),
    ", no noise": Competition(noise_scale=0.0),
}


def layer_variants(competitors):
    variants = {"GELU": F.gelu}
    for u in competitors:
        for name, competition in OURS.items():
            variants[f"ours, U={u}{name}"] = StochasticLWTA(u, channel_dim=-1, competition=competition).train()
        variants[f"published, U={u}"] = Published(u, -1)
    return variants


def step_variants(name, compiled, competitors):
    models = {"dense": create_model(name, competitors=1)}
    for u in competitors:
        for variant, competition in OURS.items():
            models[f"ours, U={u}{variant}"] = create_model(name, competitors=u, competition=competition)
        models[f"published, U={u}"] = create_model(name, competitors=u)
        for path, layer in competitions(models[f"published, U={u}"]).items():
            parent, _, child = path.rpartition(".")
            setattr(models[f"published, U={u}"].get_submodule(parent), child, Published(u, layer.groups.channel_dim))
    return with_compiled(models, compiled)


def with_compiled(variants, compiled):
    """The variants, and after them each but the published one (its checks for NaN break the graph) compiled."""
    if compiled is None:
        return variants
    torch._dynamo.config.cache_size_limit = 64
    return variants | {f"{n}, compiled": compiled(f) for n, f in variants.items() if "published" not in n}


def step_of(model, batch, *, bf16=False):
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    device = next(model.parameters()).device
    x, y = torch.randn(batch, 3, 224, 224, device=device), torch.zeros(batch, dtype=torch.long, device=device)

    def step():
        optimizer.zero_grad()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    return step


def kept_bytes(function, h) -> int:
    """The bytes that autograd keeps between forward and backward, each storage once."""
    seen = {}

    def pack(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = function(h.detach().requires_grad_())
    del y
    return sum(seen.values())


def backward(function, h):
    x = h.detach().requires_grad_()
    y = function(x)
    y.backward(y.detach())


def table(title, variants, turns, kept=None) -> None:
    """Run every variant once a round; print each median and what it keeps, and their ratios to the first."""
    medians = turns(variants)
    first = next(iter(medians))
    print(f"{title}\n  {'':34}{'ms':>9}{'x ' + first:>10}" + (f"{'kept, x ' + first:>16}" if kept else ""))
    for name, median in medians.items():
        line = f"  {name:34}{median * 1e3:9.1f}{median / medians[first]:10.2f}"
        print(line + (f"{kept[name] / kept[first]:16.2f}" if kept and name in kept else ""))
    print()


if __name__ == "__main__":
    main()
