"""Describers on real photographs: 1,280 hidden features and 1,000 class units of an ImageNet network, held-out photos.

    python benchmarks/photographs.py [--data DIR] [--units 1280]

493 photos with real CLIP embeddings: names are chosen on one half and judged on the other, by the same encoder (no
other one is at hand). Of a class unit it is known which of the 1,000 names is right: `right` is that share, from half
of the photos; from all of them `benchmarks/similarity.py --photographs` prints it.
"""

import argparse
import time
from collections.abc import Sequence

import torch
from class_units import find_data
from safetensors.torch import load_file
from similarity import photographs
from torch import Tensor

from dissect.describers.sparse_fit import sparse_fit
from dissect.judging.bench import Bench
from dissect.judging.controls import Labelling
from dissect.judging.judge import LayerVerdicts
from dissect.judging.measures import MEASURES
from dissect.judging.measures.seen import Seen
from dissect.judging.methods import Field
from dissect.judging.sanity import sanity
from dissect.judging.verdicts import verdicts
from dissect.naming.halves import halve
from dissect.naming.near_duplicates import block_means
from dissect.report.verdict_text import verdict_text
from dissect.similarity import SIMILARITIES

METHODS = ("lwta", "claims", "soft_wpmi", "wpmi", "cosine_cubed")
TOP = 3


def ranked(method: str, values: Tensor, images: Tensor, texts: Tensor) -> Tensor:
    """Up to three concepts a unit, best first, (units, 3); a fit of fewer terms repeats its last one."""
    if method != "lwta":
        return SIMILARITIES[method](values, images, texts).topk(TOP, dim=1).indices
    fit = sparse_fit(values, images, texts, terms=TOP)
    terms = (fit.weights > 0).long().cumsum(1).clamp(min=1)
    last = (terms * (fit.weights > 0)).argmax(1, keepdim=True)
    return torch.where(fit.weights > 0, fit.concepts, fit.concepts.gather(1, last))


def judged(title: str, values: Tensor, images: Tensor, texts: Tensor, names: Sequence[str], known: bool) -> None:
    """Prints one layer's table, the time a unit, and of known units how many names are right."""
    halves = halve(images)
    held, at = halves.judged(values), halves.judged(images)
    choosing = halves.choosing
    means = [block_means(x[choosing], halves.blocks[choosing]).float() for x in (values, images)]
    place = {name: i for i, name in enumerate(names)}
    methods, notes = [], []
    for method in METHODS:
        start = time.perf_counter()
        best = ranked(method, *means, texts)
        took = (time.perf_counter() - start) / len(best)
        methods.append(Labelling(method, tuple(tuple(names[i] for i in row) for row in best.tolist())))
        right = f", right {float((best[:, 0] == torch.arange(len(best))).double().mean()):.1%}" if known else ""
        notes.append(f"  {method:14} {1000 * took:6.2f} ms a unit{right}")

    def scored(labels: Sequence[str]) -> Seen:
        return Seen(held, at @ texts[[place[label] for label in labels]].double().T)

    bench = Bench(title, tuple(range(values.shape[1])), len(held), {"score": scored})
    found, leads = verdicts(bench, methods, names)
    field = Field(title, bench.units, len(bench.units), tuple(methods), {})
    checks = {name: sanity(MEASURES[name]) for name in ("r", "AUPRC")}
    print(verdict_text(LayerVerdicts(field, len(held), found, leads), checks))
    print("\n".join(notes), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", help="the folder of shared data (default: ../shared/data, or LWTA_SHARED_DATA)")
    parser.add_argument("--units", type=int, default=1280, help="so many hidden features, the first")
    parser.add_argument("--quick", action="store_true", help="60 hidden features")
    options = parser.parse_args(argv)
    data = find_data(options.data)
    if not data.is_dir():
        print(f"no data in {data}: nothing to do")
        return
    problem, folder = photographs(data), data / "flickr8k-dev"
    units = 60 if options.quick else options.units
    names = (folder / "imagenet1k.txt").read_text("utf-8").splitlines()
    names = [f"{name} ({i})" if name in names[:i] else name for i, name in enumerate(names)]
    features = load_file(folder / "mobilenetv2.safetensors")["features"].float()[:, :units]
    judged("hidden features", features, problem.images, problem.texts, names, known=False)
    judged("class units", problem.activations, problem.images, problem.texts, names, known=True)


if __name__ == "__main__":
    main()
