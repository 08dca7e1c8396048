"""What the similarities cost: ours against the formulation that CLIP-Dissect published, side by side in one run from
the same embeddings.

    python benchmarks/dissect.py [--quick] [--peer PATH] [--threads 2] [--only soft_wpmi ...]

Every variant runs in a process of its own. The time is that from embeddings to scores (the published code stores the
whole image x concept matrix first: that is in its time). Peak memory is the highest resident size of the process above
that with the inputs loaded, less the result. The published loops over units are timed on 64 random units and scaled to
all of them; what does not depend on their number (the matrix, softmax) is measured apart, by a run of 8 units, and the
prior's share by itself. `limit` is the time of the matrix products alone that no way can do without: the highest ratio
there is. With `--peer PATH`, the functions of a checkout of CLIP-Dissect are run, instead of the same formulas as
written here.

The embeddings are synthetic, 512 numbers of length 1: a common direction (as CLIP's have), 200 clusters, and noise. A
unit's activations are its own mixture of three clusters, rectified, and noise.
"""

import argparse
import importlib
import importlib.util
import json
import math
import resource
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import torch
from torch.nn.functional import normalize

sys.path.insert(0, str(Path(__file__).parents[1]))  # before this folder, whose `dissect` is this file
if __name__ == "dissect":  # a script beside this one asked for the package: give it that
    del sys.modules["dissect"]
    importlib.import_module("dissect")

from dissect.similarity import SIMILARITIES, scores_and_prior

FULL, QUICK = (10_000, 20_000, 2_048), (1_000, 1_500, 128)
LOOPED = ("rank_reorder", "soft_wpmi", "wpmi")
COMPARED = ("cosine", "cosine_cubed", *LOOPED)
PEER_NAMES = {"cosine": "cos_similarity", "cosine_cubed": "cos_similarity_cubed"}
MANY, FEW = 64, 8  # units for which a published loop is timed
AIMS = {"cosine": 20, "rank_reorder": 20, "soft_wpmi": 15}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, not what is faster")
    parser.add_argument("--peer", type=Path, help="a checkout of Trustworthy-ML-Lab/CLIP-dissect")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=COMPARED, choices=sorted(SIMILARITIES))
    parser.add_argument("--variant", help=argparse.SUPPRESS)  # what a process of its own is asked to run
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.variant:
        print(json.dumps(measure(*options.variant.split(":"), options)))
        return
    n, m, k = QUICK if options.quick else FULL
    print(f"N = {n} images, M = {m} concepts, K = {k} units; torch {torch.__version__}, {options.threads} threads")
    print(f"published: {'the functions of the checkout' if options.peer else 'the formulas as written here'}\n")
    print(f"{'':16}{'ours':>10}{'published':>12}{'ratio':>8}{'aim':>6}{'peak MB':>12}{'published':>12}{'ratio':>8}")
    for name in options.only:
        compare(name, k, options)


def compare(name: str, k: int, options: argparse.Namespace) -> None:
    """One row of the table."""
    ours = in_a_process("ours", name, k, options)
    if name not in COMPARED:
        print(f"{name:16}{ours['seconds']:9.1f}s{'-':>12}{'':14}{ours['megabytes']:12.0f}{'no published code':>20}")
        return
    if name in LOOPED:
        few, many = (in_a_process("published", name, units, options) for units in (FEW, MANY))
        a_unit = (many["seconds"] - few["seconds"]) / (MANY - FEW)
        published = {"seconds": few["seconds"] + (k - FEW) * a_unit, "megabytes": many["megabytes"]}
    else:
        published = in_a_process("published", name, k, options)
    faster, smaller = (published[what] / max(ours[what], 1e-9) for what in ("seconds", "megabytes"))
    aim = f"{AIMS[name]}x" if name in AIMS else "-"
    print(
        f"{name:16}{ours['seconds']:9.1f}s{published['seconds']:11.1f}s{faster:7.1f}x{aim:>6}"
        f"{ours['megabytes']:12.0f}{published['megabytes']:12.0f}{smaller:7.1f}x"
    )
    limit = in_a_process("limit", name, k, options)["seconds"]
    print(f"{'':16}limit: {limit:.2f} s for the products alone, {published['seconds'] / limit:.1f}x")
    if name in LOOPED:
        print(f"{'':16}published: {few['seconds']:.1f} s for {FEW} units, {a_unit * 1e3:.0f} ms each further one")
    if name in ("soft_wpmi", "wpmi"):
        share = in_a_process("prior", name, k, options)
        print(f"{'':16}ours: prior and scores from one pass; of it the prior {share['seconds']:.2f} s")
    sys.stdout.flush()


def in_a_process(side: str, name: str, units: int, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--variant", f"{side}:{name}:{units}", "--threads", str(options.threads)]
    command += ["--quick"] * options.quick + (["--peer", str(options.peer)] if options.peer else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} {name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(side: str, name: str, units: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds from embeddings to scores, and the megabytes above inputs and result."""
    n, m, k = QUICK if options.quick else FULL
    activations, images, concepts = inputs(n, m, k)
    few = torch.randperm(k, generator=torch.Generator().manual_seed(1))[: int(units)].sort().values
    activations = activations[:, few] if len(few) < k else activations
    warm_up(activations, images, concepts)
    run = {"ours": ours, "published": published, "prior": prior_share, "limit": products}[side]
    before = resident()
    peak = Peak()
    start = time.perf_counter()
    result = run(name, activations, images, concepts, options)
    seconds = time.perf_counter() - start
    above = peak.stop() - before - result.numel() * result.element_size() / 2**20
    return {"seconds": float(result) if side == "prior" else seconds, "megabytes": max(above, 0.0)}


def inputs(n: int, m: int, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    common, centres = torch.randn(2, 1, 512, generator=generator), torch.randn(200, 512, generator=generator)
    of_image, of_concept = (torch.randint(200, (count,), generator=generator) for count in (n, m))
    images = normalize(common[0] + 0.6 * centres[of_image] + 0.5 * torch.randn(n, 512, generator=generator), dim=1)
    shared = 0.2 * common[0] + common[1]
    concepts = normalize(shared + 0.4 * centres[of_concept] + 0.5 * torch.randn(m, 512, generator=generator), dim=1)
    liked = torch.zeros(200, k).scatter_(0, torch.randint(200, (3, k), generator=generator), 1.0)
    activations = liked[of_image].add_(torch.randn(n, k, generator=generator), alpha=0.5).relu_()
    return activations, images, concepts


def warm_up(activations: torch.Tensor, images: torch.Tensor, concepts: torch.Tensor) -> None:
    """Libraries are loaded and threads started before the clock is."""
    for similarity in SIMILARITIES.values():
        similarity(activations[:200, :4], images[:200], concepts[:50])


def ours(name, activations, images, concepts, options) -> torch.Tensor:
    return scores_and_prior(activations, images, concepts, similarity=name)[0]


def products(name, activations, images, concepts, options) -> torch.Tensor:
    """What every way from embeddings to scores multiplies: by way of the images' space, or P in chunks."""
    if name == "cosine":
        return (activations.T @ images) @ concepts.T
    for chunk in concepts.split(512):
        p = images @ chunk.T
    return p


def prior_share(name, activations, images, concepts, options) -> torch.Tensor:
    """Seconds that a whole pass takes longer than one with a prior that is known."""
    times = []
    for prior in (torch.zeros(len(concepts)), None):
        start = time.perf_counter()
        SIMILARITIES[name](activations, images, concepts, prior=prior)
        times.append(time.perf_counter() - start)
    return torch.tensor(times[1] - times[0])


def published(name, activations, images, concepts, options) -> torch.Tensor:
    """The whole matrix first, as CLIP-Dissect does, then its function or our writing of it."""
    p = images @ concepts.T
    if not options.peer:
        return PUBLISHED[name](p, activations)
    return peer_functions(options.peer)[name](p, activations, device="cpu")


def peer_functions(checkout: Path) -> dict:
    """`similarity.py` of a checkout; what it imports for plots and progress bars need not be installed."""
    for wanted in ("matplotlib", "matplotlib.pyplot", "scipy", "scipy.stats", "tqdm"):
        if wanted not in sys.modules and importlib.util.find_spec(wanted.partition(".")[0]) is None:
            sys.modules[wanted] = types.ModuleType(wanted)
            parent, _, child = wanted.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[wanted])
    sys.modules.setdefault("tqdm", types.ModuleType("tqdm")).tqdm = lambda steps: steps
    spec = importlib.util.spec_from_file_location("peer_similarity", checkout / "similarity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: getattr(module, PEER_NAMES.get(name, name)) for name in COMPARED}


# --- the published formulas, from their description: P is whole, units come one after another


def published_cosine(p, q):
    return (q / q.norm(dim=0, keepdim=True)).T @ (p / p.norm(dim=0, keepdim=True))


def published_cosine_cubed(p, q):
    p, q = ((x - x.mean(0, keepdim=True)) ** 3 for x in (p, q))
    p, q = (x / x.norm(dim=0, keepdim=True).clamp(min=1e-3) for x in (p, q))
    return q.T @ p


def published_wpmi(p, q):
    s = (2 * p).softmax(1)
    best = q.topk(28, dim=0).indices
    return _less_prior([(s[best[:, k]] + 1e-7).log().sum(0) for k in range(q.shape[1])], 0.6)


def published_soft_wpmi(p, q):
    s = (10 * p).softmax(1)
    best = q.topk(100, dim=0).indices
    inside = (0.998 - torch.arange(100) / 100 * (0.998 - 0.97))[:, None]
    return _less_prior([(1 + inside * (s[best[:, k]] - 1) + 1e-7).log().sum(0) for k in range(q.shape[1])], 1.0)


def _less_prior(evidence, strength):
    evidence = torch.stack(evidence)
    return evidence - strength * (evidence.logsumexp(0, keepdim=True) - math.log(len(evidence)))


def published_rank_reorder(p, q):
    best = q.topk(int(0.05 * len(q)), dim=0)
    scores = []
    for k in range(q.shape[1]):
        rows = p[best.indices[:, k]]
        rank = rows.argsort(dim=0).argsort(dim=0)
        v, rising = best.values[:, k, None], best.values[:, k, None].flip(0)
        shuffled = torch.cat([rising[torch.randperm(len(rising))] for _ in range(5)], dim=1)
        base = ((rising - shuffled).abs() ** 3).mean()
        errors = [((v - rising.expand(-1, r.shape[1]).gather(0, r)).abs() ** 3).mean(0) for r in rank.split(1500, 1)]
        scores.append(-torch.cat(errors) / base / rows.mean(0) ** 0.5)
    return torch.stack(scores)


PUBLISHED = {
    "cosine": published_cosine,
    "cosine_cubed": published_cosine_cubed,
    "rank_reorder": published_rank_reorder,
    "soft_wpmi": published_soft_wpmi,
    "wpmi": published_wpmi,
}


class Peak:
    """The highest resident size, in MB: sampled, and the system's own mark where that has risen since."""

    def __init__(self):
        self.marked, self.seen, self.over = marked(), resident(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(0.005):
            self.seen = max(self.seen, resident())

    def stop(self) -> float:
        self.over.set()
        self.thread.join()
        return max(self.seen, marked()) if marked() > self.marked else self.seen


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def marked() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
