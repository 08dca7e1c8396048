"""What sparsity buys at inference: a DeiT-T whose linear maps read winners alone, against dense networks and the
masked path, in one run, eager and compiled.

    python benchmarks/inference.py [--quick] [--threads 2] [--rounds 15] [--competitors 2 4 8 24] [--batches 16 1]
    python benchmarks/inference.py --crossover [--threads 2] [--modes eager compiled]

Each round runs every variant once, in turn, so that a busy machine slows all of them alike. `limit` is the network with
competition and second linear map gone altogether: nothing can be faster. The last columns set each row against the
faster dense network and against the limit. `--crossover` sets one pair of competition and Linear against the masked
path over widths, tokens and competitors: where the rule of `sparse_inference` comes from.
"""

import argparse
import warnings

import torch
from runs import in_turns
from torch import nn

from competition_layers import StochasticLWTA, WinnerProjection, create_model, sparse_inference
from dissect.comparing.memory import peak_bytes

NAME = "deit_tiny_patch16_224"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, U = 8, eager only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--competitors", type=int, nargs="+", default=[2, 4, 8, 24])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 1])
    parser.add_argument("--modes", nargs="+", choices=["eager", "compiled"], default=["eager", "compiled"])
    parser.add_argument("--crossover", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="weights and pictures in bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.quick:
        options.rounds, options.competitors, options.batches, options.modes = 3, [8], [4, 1], ["eager"]
    machine = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"{options.threads} threads"
    print(f"torch {torch.__version__}, {machine}, medians of {options.rounds} rounds\n")
    with torch.inference_mode():
        if options.crossover:
            crossover(options.modes, options.rounds)
            return
        kind = torch.bfloat16 if options.bf16 else torch.float32
        networks = variants(options.competitors, options.device, kind)
        for mode in options.modes:
            for batch in options.batches:
                torch.compiler.reset()
                table(
                    networks, mode, torch.randn(batch, 3, 224, 224, device=options.device, dtype=kind), options.rounds
                )


def timed(runs, rounds) -> dict[str, float]:
    finish = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    return in_turns(runs, rounds, finish=finish)


def variants(competitors, device, kind) -> dict[str, nn.Module]:
    """Networks that differ in their MLPs alone, with the same weights."""
    torch.manual_seed(0)
    dense = create_model(NAME, competitors=1).eval()
    networks = {"dense GELU": dense, "dense ReLU": swapped(dense, nn.ReLU), "limit": swapped(dense, nn.Identity)}
    for block in networks["limit"].blocks:
        block.mlp.fc2 = First(block.mlp.fc2.out_features)
    for u in competitors:
        masked = create_model(NAME, competitors=u).eval()
        masked.load_state_dict(dense.state_dict())
        networks[f"masked, U={u}"] = masked.to(device, kind)
        networks[f"winners, U={u}"] = sparse_inference(masked)
    return {name: network.to(device, kind) for name, network in networks.items()}


def swapped(dense, activation) -> nn.Module:
    network = create_model(NAME, competitors=1).eval()
    network.load_state_dict(dense.state_dict())
    for block in network.blocks:
        block.mlp.act = activation()
    return network


class First(nn.Module):
    """No linear map: the first channels pass."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, h):
        return h[..., : self.channels]


def table(networks, mode, x, rounds) -> None:
    runs = {name: network if mode == "eager" else torch.compile(network) for name, network in networks.items()}
    seconds = timed({name: lambda run=run: run(x) for name, run in runs.items()}, rounds)
    dense, limit = min(seconds["dense GELU"], seconds["dense ReLU"]), seconds["limit"]
    print(
        f"{NAME}, {mode}, batch {len(x)}\n  {'':16}{'ms':>9}{'x dense':>9}{'of limit':>10}{'peak MB':>9}{'error':>10}"
    )
    for name, run in runs.items():
        error = ""
        if name.startswith("winners"):
            error = f"{(run(x) - networks[name.replace('winners', 'masked')](x)).abs().max():.1e}"
        print(
            f"  {name:16}{seconds[name] * 1e3:9.1f}{dense / seconds[name]:9.2f}{limit / seconds[name]:10.0%}"
            f"{peak_bytes(lambda run=run: run(x), x.device) / 2**20:9.1f}{error:>10}"
        )
    print()


def crossover(modes, rounds) -> None:
    print(f"{'mode':9}{'units x features':>17}{'tokens':>7}{'U':>4}{'masked ms':>11}{'winners ms':>12}{'ratio':>7}")
    for mode in modes:
        for units, features in ((256, 64), (768, 192), (1536, 384), (3072, 768)):
            for tokens in (1, 64, 197, 2048):
                for u in (2, 4, 8, 24):
                    if units % u == 0:
                        one_pair(mode, units, features, tokens, u, rounds)


def one_pair(mode, units, features, tokens, u, rounds) -> None:
    """The masked path beside the one that `sparse_inference` puts in its place, which may have stepped aside."""
    torch.compiler.reset()
    pair = nn.Sequential(StochasticLWTA(u, channel_dim=-1), nn.Linear(units, features)).eval()
    h = torch.randn(tokens, units)
    with warnings.catch_warnings(action="ignore"):  # what is left alone
        networks = {"masked": pair, "winners": sparse_inference(pair, h)}
    runs = {name: run if mode == "eager" else torch.compile(run, dynamic=False) for name, run in networks.items()}
    seconds = timed({name: lambda run=run: run(h) for name, run in runs.items()}, rounds)
    masked, winners = seconds.values()
    aside = "" if isinstance(networks["winners"][1], WinnerProjection) else "  stepped aside"
    print(
        f"{mode:9}{units:>8} x {features:<6}{tokens:7}{u:4}{masked * 1e3:11.3f}{winners * 1e3:12.3f}"
        f"{masked / winners:7.2f}{aside}",
        flush=True,
    )


if __name__ == "__main__":
    main()
