"""Networks trained through to a decision layer, against the same networks with other heads.

    python benchmarks/decision_through.py [--network resnet vit scenes] [--workers 2] [--out DIR] [--table] [--quick]
    python benchmarks/decision_through.py --focus-of-votes [--out DIR]
    python benchmarks/decision_through.py --long --device cuda --workers 14 [...]

resnet, vit: a small ResNet and a small ViT on 10,000 pictures of CIFAR-10 (lossy JPEGs, 32 px), 5,000 of train/ held
out for choices, all 10,000 test pictures; scenes: the same ResNet on 4,000 painted scenes, 1,000 for choices, 2,000 to
test. Half a minute of a core a run, so these are short trainings: the heads are compared, the accuracy is not what the
networks could reach. --focus-of-votes: scenes, held-out pictures, one seed: the focus moves the votes, not the features
before them. --long: larger networks, 45,000 pictures (6,000 scenes), a minute or two a run on a GPU.

Heads: the decision layer (of settings screened on the held-out pictures with seed 0), linear, and of the same width
ReLU, GELU and top-k with as many active units; GELU at positions too. One recipe, the same initial backbone, the same
batches: paired by seed. A linear head with an L1 penalty is left out: its weights stay dense until they are cut and the
head is trained on, which on a backbone that still moves is another recipe; on frozen features it is a row of
`decision.py`.

Every run is a JSON file: what is finished is not done again, and a partial table says so. The test pictures are read
once for each run. The models of scenes that end in a decision layer are saved: `lwta describe` names their units.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from class_units import find_data
from decision import linear_head
from runs import add_machine_options, in_processes, interval, one_thread
from split_pictures import opened, pictures
from through_networks import LONG, NETWORKS, FocusOfVotes, Network, read, train

from competition_layers import (
    DecisionHead,
    DecisionLayer,
    save_model,
)
from competition_layers.files import write_file
from training.decision.terms import Terms

SCREENED = (
    DecisionLayer(),
    DecisionLayer(focus=0.0),
    DecisionLayer(64, 16, noise_scale=0.3, focus=0.0),
    DecisionLayer(64, 16, at="positions", noise_scale=0.3),
    DecisionLayer(64, 16, at="positions", noise_scale=0.3, focus=0.0),
)
COLUMNS = ("active", "units", "winners", "sufficient", "necessary", "serves", "dead")


def network_of(name: str, asked: argparse.Namespace) -> Network:
    network = (LONG if asked.long else NETWORKS)[name]
    return replace(network, epochs=asked.epochs) if asked.epochs else network


def pictures_of(name: str, asked: argparse.Namespace) -> Path:
    which = "scenes" if name == "scenes" else "cifar"
    return pictures(which + "-long" * asked.long, asked.out, quick=asked.quick)


def in_words(layer: DecisionLayer) -> str:
    return (
        f"decision layer, {layer.at}, {layer.units} / {layer.competitors}, "
        f"noise {layer.noise_scale:g}, balance {layer.balance:g}, focus {layer.focus:g}"
    )


def twins(
    pooled: DecisionLayer, placed: DecisionLayer
) -> dict[str, DecisionLayer | Callable[[int, int], DecisionHead]]:
    """Layers without competition as wide as the two; the linear head from the number of features and of classes."""
    plain = replace(pooled, focus=0.0)
    return {
        "linear": lambda f, c: linear_head(f, c, pooled),
        f"ReLU, {pooled.units} units": replace(plain, activation="relu"),
        f"GELU, {pooled.units} units": replace(plain, activation="gelu"),
        f"top-{pooled.groups} of {pooled.units}": replace(plain, activation="topk"),
        f"GELU, {placed.units} units at positions": replace(placed, focus=0.0, activation="gelu"),
    }


def screen(name: str, asked: argparse.Namespace) -> tuple[DecisionLayer, ...]:
    """The settings that are best on the held-out pictures: pooled, and at positions."""
    found = {}
    for layer in SCREENED:
        tried = json.loads(_choice(name, layer, asked).read_text())
        found[layer], seconds = tried["accuracy"], tried["seconds"]
        print(f"{name}, held-out pictures: {in_words(layer)}: {100 * found[layer]:.2f} %, {seconds:.0f} s", flush=True)
    return tuple(
        max((layer for layer in found if layer.at == at), key=found.__getitem__) for at in ("pooled", "positions")
    )


def try_setting(name: str, layer: DecisionLayer, asked: argparse.Namespace) -> None:
    """A setting on the held-out pictures, with seed 0."""
    path, split, start = _choice(name, layer, asked), opened(pictures_of(name, asked), asked.device), time.monotonic()
    if not path.is_file():
        network = network_of(name, asked)
        model = train(network, layer, split, 0)
        seconds = {"seconds": time.monotonic() - start}
        _write(path, {"head": in_words(layer)} | read(model, split, "val", network.side) | seconds)


def try_focus_of_votes(name: str, asked: argparse.Namespace) -> None:
    """No focus, that of everything, that of the votes alone: held-out pictures, seed 0."""
    split, network = opened(pictures_of(name, asked), asked.device), network_of(name, asked)
    tried = [
        ("none", 0.0, Terms),
        ("everything", 0.1, Terms),
        ("votes", 0.1, FocusOfVotes),
        ("votes", 0.3, FocusOfVotes),
    ]
    for what, focus, terms in tried:
        model = train(network, DecisionLayer(focus=focus), split, 0, terms_of=terms)
        found = read(model, split, "val", network.side)
        print(
            f"{name}, focus {focus:g} of {what}: {100 * found['accuracy']:.1f} %, {found['units']:g} units for 90 %, "
            f"a unit serves {found['serves']:.1f} classes",
            flush=True,
        )


def _choice(name: str, layer: DecisionLayer, asked: argparse.Namespace) -> Path:
    return asked.out / f"{name}-choice-{_safe(in_words(layer))}.json"


def run(name: str, head: str, seed: int, asked: argparse.Namespace) -> None:
    """One head with one seed, where it is not finished."""
    path = _result(name, head, seed, asked)
    if path.is_file() or time.time() > asked.until:
        return
    made, network = heads_of(name, asked)[head], network_of(name, asked)
    split, start = opened(pictures_of(name, asked), asked.device), time.monotonic()
    model = train(network, made, split, seed)
    seconds = time.monotonic() - start
    if name == "scenes" and isinstance(made, DecisionLayer):
        save_model(model, asked.out / f"{name}-{made.at}-seed{seed}")
    found = read(model, split, "test", network.side)
    _write(path, found | {"seconds": seconds})
    print(f"{name}, seed {seed}, {head}: {100 * found['accuracy']:.2f} %, {seconds:.0f} s", flush=True)


def heads_of(name: str, asked: argparse.Namespace) -> dict[str, DecisionLayer | Callable[[int, int], DecisionHead]]:
    """The chosen decision layers and their twins, by name."""
    chosen = [_layer(words) for words in json.loads((asked.out / f"{name}-heads.json").read_text())]
    return {in_words(layer): layer for layer in chosen} | twins(*chosen)


def _layer(words: str) -> DecisionLayer:
    return next(layer for layer in SCREENED if in_words(layer) == words)


def tell(name: str, asked: argparse.Namespace) -> None:
    """The heads over the seeds, with the paired difference to the pooled decision layer."""
    heads = list(heads_of(name, asked))
    paths = {head: [_result(name, head, seed, asked) for seed in range(asked.seeds)] for head in heads}
    rows = {h: {s: json.loads(p.read_text()) for s, p in enumerate(ps) if p.is_file()} for h, ps in paths.items()}
    done, all_of = sum(map(len, rows.values())), len(heads) * asked.seeds
    print(f"\n### {name}, trained through{'' if done == all_of else f' (PARTIAL: {done} of {all_of} runs)'}\n")
    columns = (
        "active units | units for 90 % of the lead | winners for it | sufficient | necessary | classes a unit serves"
    )
    print(f"| head | accuracy | less the decision layer's | {columns} | dead | seconds |\n|---|{'---:|' * 10}")
    own = rows[heads[0]]
    for head, found in rows.items():
        if not found:
            continue
        apart = [100 * (found[s]["accuracy"] - own[s]["accuracy"]) for s in found if s in own]
        figure = {c: (median if c in ("units", "winners") else mean)([r[c] for r in found.values()]) for c in COLUMNS}
        words = [interval([100 * r["accuracy"] for r in found.values()])]
        words += ["" if found is own else interval(apart, sign="+")]
        words += [f"{figure[c]:.1f}" for c in COLUMNS[:-1]] + [f"{100 * figure['dead']:.1f} %"]
        print(f"| {head} | {' | '.join(words)} | {mean(r['seconds'] for r in found.values()):.0f} |")


def _result(name: str, head: str, seed: int, asked: argparse.Namespace) -> Path:
    return asked.out / f"{name}-{_safe(head)}-seed{seed}.json"


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)


def _write(path: Path, value: object) -> None:
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-through"))
    parser.add_argument("--long", action="store_true", help="larger networks, more pictures, more epochs: on a GPU")
    parser.add_argument("--epochs", type=int, help="instead of the recipes'")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after so many")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    parser.add_argument("--quick", action="store_true", help="scenes, one seed, one epoch of few pictures")
    add_machine_options(parser)
    parser.add_argument("--focus-of-votes", action="store_true", help="a screen on the scenes: where the focus reaches")
    asked = parser.parse_args()
    asked.until = time.time() + 60 * asked.minutes
    one_thread()
    if asked.quick:
        asked.out, asked.network, asked.seeds, asked.epochs = asked.out / "quick", ["scenes"], 1, 1
    asked.out = asked.out / "long" if asked.long else asked.out
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.focus_of_votes:
        try_focus_of_votes("scenes", asked)
        return
    names = [name for name in asked.network if name == "scenes" or find_data().is_dir()]
    for name in set(asked.network) - set(names):
        print(f"no CIFAR-10 in {find_data()}: nothing to do for {name}")
    if not asked.table:
        for name in names:
            pictures_of(name, asked)
        settings = [(name, layer, asked) for name in names for layer in SCREENED]
        in_processes(try_setting, settings, workers=asked.workers)
        for name in names:
            _write(asked.out / f"{name}-heads.json", [in_words(layer) for layer in screen(name, asked)])
        runs = [(name, h, seed, asked) for seed in range(asked.seeds) for name in names for h in heads_of(name, asked)]
        in_processes(run, runs, workers=asked.workers)
    for name in names:
        if (asked.out / f"{name}-heads.json").is_file():
            tell(name, asked)


if __name__ == "__main__":
    main()
