"""Do competing units behave like features? Planted shortcuts, found by name, switched off, the head refitted.

    python benchmarks/shortcuts.py [--through] [--out DIR] [--seeds 5] [--device cuda --workers 15] [--table]

Painted scenes of two classes, told by one small thing. In 95 % of the training pictures something accompanies the class
that does not make it: a balloon in the sky (class 1 has it), the ground (sand or grass), a written mark in a corner. In
the other splits all four groups, class times shortcut, are equally large. A backbone is trained on the biased pictures,
and on its frozen features five sets of units (`small_networks.py`), on the same pictures; with --through, a network of
each kind is trained on them from its start. Then, on the test pictures, accuracy and the worst of the four groups for

    biased[, refit]     the network as it is; its last map fitted anew to the biased training pictures
    by name             units whose verified name is the shortcut, off  (names: bundled CLIP, balanced probe pictures)
    by name, refit      the same, the last map fitted anew to the biased training pictures
    by phrase[, refit]  units that answer to the shortcut's word as in `lwta find` (r > .3 with its score by the bundled
                        CLIP), whatever they are called, off
    at random, refit    as many other units off as by phrase (mean of 10 draws): what switching off alone does
    by truth[, refit]   units that follow the shortcut (|r| > .3, and more than they follow the class), off
    oracle              nothing off, the last map fitted anew to balanced pictures (deep feature reweighting)
    oracle, retrained   with --through: the network trained from its start on as many balanced pictures

The word list knows balloons and grounds. The mark has no word: its concept is given by 100 pairs of pictures with and
without it (the mean difference of their embeddings). Every seed is a JSON file: what is finished is not done again.
"""

import argparse
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from runs import add_machine_options, in_processes, interval, one_thread
from shortcut_pictures import CLASSES, SHORTCUTS, SPLITS, network_input, prepared
from small_networks import KINDS, THROUGH, features_of, frozen_networks, through_network
from torch import Tensor

from competition_layers import DecisionHead
from competition_layers.files import write_file
from dissect import LayerRecord, Space, load_concepts, load_encoder, name_verified
from dissect.editing.refitting import head_inputs, refit_head
from dissect.naming.halves import halve

WORDS = {"object": ("balloon",), "ground": ("sand", "grass"), "mark": ("the written mark",)}  # in a name: it is the one
ROWS = (
    "biased",
    "biased, refit",
    "by name",
    "by name, refit",
    "by phrase",
    "by phrase, refit",
    "at random, refit",
    "by truth",
    "by truth, refit",
    "oracle",
    "oracle, retrained",
)
FOLLOWS, RANDOM_DRAWS = 0.3, 10
EPOCHS = {False: 10, True: 30}  # frozen backbones; networks trained through: at 10, competing ones learn on


def measured(
    shortcut: str, seed: int, data: dict[str, Tensor], asked: argparse.Namespace
) -> dict[str, dict[str, dict[str, float]]]:
    """By kind of units and by what is switched off: figures."""
    x = {split: network_input(data[f"{split}.images"]).to(asked.device) for split in SPLITS}
    biased, unbiased = (data[f"{split}.label"].to(asked.device) for split in ("train", "unbiased"))
    learnt = {"labels": CLASSES, "epochs": asked.epochs, "seed": seed}
    made = {} if asked.through else frozen_networks(x["train"], biased, **learnt)
    found = {}
    for kind in kinds(asked.through):
        network = made.get(kind) or through_network(kind, x["train"], biased, **learnt)
        features = {split: features_of(network.backbone, x[split]).cpu() for split in SPLITS}
        found[kind] = rows_of(shortcut, kind, network.head.cpu(), features, data, seed)
        if asked.through:
            oracle = through_network(kind, x["unbiased"], unbiased, **learnt)
            with torch.no_grad():
                said = torch.cat([oracle(part).argmax(1).cpu() for part in x["test"].split(250)])
            found[kind]["oracle, retrained"] = {**by_group(said, data), "units": 0}
    return found


def kinds(through: bool) -> tuple[str, ...]:
    """L1 is left out of networks trained through: a penalty on what units say is no kind of unit."""
    return THROUGH[:4] if through else KINDS


def rows_of(
    shortcut: str, kind: str, model: DecisionHead, features: dict[str, Tensor], data: dict[str, Tensor], seed: int
) -> dict[str, dict[str, float]]:
    """One network edited in every way, measured: accuracy, worst group, units off."""
    y = {split: data[f"{split}.label"] for split in SPLITS}
    said = {split: head_inputs(model, features[split].split(250)) for split in SPLITS}
    named = units_by_name(shortcut, said["probe"], kind, data)
    phrased = units_by_phrase(shortcut, said["probe"], data)
    true = units_by_truth(said["probe"], y["probe"], data["probe.there"])
    head, kept = model.decision_votes, {k: v.clone() for k, v in model.decision_votes.state_dict().items()}

    def figures(off: Sequence[int], fit_on: str = "") -> dict[str, float]:
        head.load_state_dict(kept)
        with torch.no_grad():
            head.weight[:, list(off)] = 0
        if fit_on:
            refit_head(model, said[fit_on], y[fit_on])
        with torch.no_grad():
            answers = head(said["test"]).argmax(1)
        return {**by_group(answers, data), "units": len(off)}

    generator, width = torch.Generator().manual_seed(seed), said["test"].shape[1]
    drawn = [torch.randperm(width, generator=generator)[: len(phrased)].tolist() for _ in range(RANDOM_DRAWS)]
    at_random = [figures(off, "train") for off in drawn]
    return {
        "biased": figures([]),
        "biased, refit": figures([], "train"),
        "by name": figures(named),
        "by name, refit": figures(named, "train"),
        "by phrase": figures(phrased),
        "by phrase, refit": figures(phrased, "train"),
        "at random, refit": {key: float(np.mean([one[key] for one in at_random])) for key in at_random[0]},
        "by truth": figures(true),
        "by truth, refit": figures(true, "train"),
        "oracle": figures([], "balanced"),
    }


def by_group(answers: Tensor, data: dict[str, Tensor]) -> dict[str, float]:
    """Right answers on the test pictures, and in the group of class and shortcut where they are rarest."""
    right = answers == data["test.label"]
    groups = data["test.label"] * 2 + data["test.there"].long()
    worst = min(right[groups == group].float().mean().item() for group in range(4))
    return {"accuracy": right.float().mean().item(), "worst": worst}


@cache
def phrases() -> tuple[tuple[str, ...], Tensor]:
    concepts = load_concepts("scenes")
    return tuple(concepts.names), load_encoder("bundled").encode_texts(concepts)


def units_by_name(shortcut: str, said: Tensor, kind: str, data: dict[str, Tensor]) -> list[int]:
    """Units whose name, verified on pictures that did not choose it, has a word of the shortcut."""
    space = space_of(shortcut, data)
    won = {"mean": said != 0} if kind in ("competing", "top-k") else None
    described, _ = name_verified(
        LayerRecord("decision", {"mean": said}, won), "mean", space, halve(space.image_embeddings)
    )
    return [unit.unit for unit in described if any(word in unit.description for word in WORDS[shortcut])]


def units_by_phrase(shortcut: str, said: Tensor, data: dict[str, Tensor]) -> list[int]:
    """Units that answer to one of the shortcut's words, whatever they are called."""
    space = space_of(shortcut, data)
    scores = [space.image_embeddings @ space.concept_embeddings[space.names.index(word)] for word in WORDS[shortcut]]
    r = torch.stack([_correlation(said, score) for score in scores]).amax(0)
    return (r > FOLLOWS).nonzero()[:, 0].tolist()


def space_of(shortcut: str, data: dict[str, Tensor]) -> Space:
    """The probe pictures and the words; for the mark also the concept that pictures give."""
    names, vectors = phrases()
    if shortcut == "mark":
        vectors, names = torch.cat([vectors, data["example"][None]]), (*names, WORDS["mark"][0])
    return Space(data["probe.embeddings"], vectors, names)


def units_by_truth(said: Tensor, label: Tensor, there: Tensor) -> list[int]:
    """Units that follow the shortcut, and more than the class; the two are uncorrelated on the probe pictures."""
    by_shortcut, by_class = (_correlation(said, of.float()).abs() for of in (there, label))
    return ((by_shortcut > FOLLOWS) & (by_shortcut > by_class)).nonzero()[:, 0].tolist()


def _correlation(values: Tensor, with_: Tensor) -> Tensor:
    a, b = values - values.mean(0), with_ - with_.mean()
    return (a * b[:, None]).sum(0) / (a.norm(dim=0) * b.norm()).clamp_min(1e-9)


def tell(out: Path, seeds: int, *, through: bool) -> None:
    """The tables: worst group, accuracy in brackets, units off; means over seeds, with half of the 95 % interval."""
    for shortcut in SHORTCUTS:
        paths = [file_of(out, shortcut, seed, through=through) for seed in range(seeds)]
        found = [json.loads(path.read_text()) for path in paths if path.is_file()]
        partial = "" if len(found) == seeds else f" (PARTIAL: {len(found)} of {seeds} seeds)"
        shown = kinds(through)
        print(f"\n### {shortcut}{partial}\n\n| units off | {' | '.join(shown)} |\n|---|{'---:|' * len(shown)}")
        for row in ROWS if found else ():
            if row not in found[0]["competing"]:
                continue
            cells = []
            for kind in shown:
                runs = [one[kind][row] for one in found]
                worst = interval([100 * run["worst"] for run in runs])
                cells.append(f"{worst} ({100 * mean(run['accuracy'] for run in runs):.1f})")
                off = mean(run["units"] for run in runs)
                cells[-1] += f", {off:.1f} off" if off else ""
            print(f"| {row} | {' | '.join(cells)} |")
        for row in ("by name", "by phrase", "by phrase, refit", "by truth") if found else ():
            gains = {
                kind: [100 * (one[kind][row]["worst"] - one[kind]["biased"]["worst"]) for one in found]
                for kind in shown
            }
            print(f"| {row}, less biased | {' | '.join(map(interval, gains.values()))} |")
            if row == "by phrase":
                ahead = [[a - b for a, b in zip(gains["competing"], each, strict=True)] for each in gains.values()]
                print(f"| the gain of competing less this one's | | {' | '.join(map(interval, ahead[1:]))} |")


def file_of(out: Path, shortcut: str, seed: int, *, through: bool) -> Path:
    return out / f"{shortcut}{'-through' * through}-{seed}.json"


def prepare(shortcut: str, asked: argparse.Namespace) -> None:
    """The pictures of a shortcut, where they are not painted."""
    prepared(shortcut, asked.sizes, asked.out)


def run(shortcut: str, seed: int, asked: argparse.Namespace) -> None:
    """One seed of one shortcut, where it is not finished."""
    path = file_of(asked.out, shortcut, seed, through=asked.through)
    if not path.is_file():
        rows = measured(shortcut, seed, prepared(shortcut, asked.sizes, asked.out), asked)
        with write_file(path) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))
        for kind, one in rows.items():
            print(f"{path.stem} {kind}: " + "; ".join(f"{k} {v['worst']:.2f}" for k, v in one.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--through", action="store_true", help="a network of each kind, trained from its start")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-shortcuts"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    parser.add_argument("--quick", action="store_true", help="few pictures, one seed")
    add_machine_options(parser)
    asked = parser.parse_args()
    asked.sizes, asked.epochs = dict(SPLITS), EPOCHS[asked.through]
    if asked.quick:
        asked.out, asked.seeds, asked.epochs = asked.out / "quick", 1, 1
        asked.sizes = dict.fromkeys(SPLITS, 120)
    one_thread()
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.table:
        in_processes(prepare, [(shortcut, asked) for shortcut in SHORTCUTS], workers=asked.workers)
        jobs = [(shortcut, seed, asked) for seed in range(asked.seeds) for shortcut in SHORTCUTS]
        in_processes(run, jobs, workers=asked.workers)
    tell(asked.out, asked.seeds, through=asked.through)


if __name__ == "__main__":
    main()
