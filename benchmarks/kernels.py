"""A competition on a GPU: Triton's kernels beside the same in torch's operations, beside GELU; forward and backward.

    python benchmarks/kernels.py [--quick]

(256, 197, 768) numbers, the hidden units of a DeiT-T for 256 pictures; medians of 20 rounds in turns. How far the two
are apart is printed too. Without a GPU there is nothing to time.
"""

import argparse
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from runs import in_turns

from competition_layers import Groups, formula, functional
from competition_layers.noise import key_of

SETTINGS = (("argmax", None), ("gumbel", key_of(1)), ("softmax", key_of(1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer numbers and rounds")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing to time")
        return
    rounds, shape = (3, (4, 197, 768)) if asked.quick else (20, (256, 197, 768))
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, {shape}, milliseconds\n")
    print("| numbers | U | estimator | GELU | kernels | torch | torch / kernels | largest difference |")
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for kind in (torch.float32, torch.bfloat16):
        x = torch.randn(shape, device="cuda", dtype=kind, requires_grad=True)
        y = torch.randn_like(x)
        for u in (2, 8, 24):
            for estimator, key in SETTINGS:
                ours = partial(functional.lwta, groups=Groups(u, -1), noise=key, estimator=estimator)
                work = {"GELU": partial(back, F.gelu, x, y), "kernels": partial(back, ours, x, y)}
                work["torch"] = partial(by_torch, ours, x, y)
                seconds = in_turns(work, rounds, finish=torch.cuda.synchronize)
                times = " | ".join(f"{1e3 * each:.2f}" for each in seconds.values())
                ratio, apart = (
                    seconds["torch"] / seconds["kernels"],
                    (back(ours, x, y) - by_torch(ours, x, y)).abs().max(),
                )
                print(f"| {kind} | {u} | {estimator} | {times} | {ratio:.1f} | {apart:.1e} |", flush=True)


def back(function, x, y):
    """The gradient of x."""
    return torch.autograd.grad(function(x), x, y)[0]


def by_torch(function, x, y):
    with patch.object(functional, "formula_for", lambda *_: formula):
        return back(function, x, y)


if __name__ == "__main__":
    main()
