"""Every describer that runs offline, judged on painted scenes: several networks, two encoders, and what is known.

    python benchmarks/judged.py [--out DIR] [--seeds 3] [--second FOLDER] [--minutes M] [--table] [--quick]

For each seed: pictures, a small sparse network that ends in a decision layer and its dense twin (1,000 pictures,
4 epochs, 16 units in one group), each described by all describers at once, by soft_wpmi beside them, and with
random weights. Three judges: the encoder that gave the names; with --second another CLIP of these words; the features
of another seed's network (`readout.py`). What is in the pictures is known beside. MILAN is taught once. Intervals are
over seeds (Student's t). Last, one timed run of all describers on 208 units.

  python -m lwta.bundled_clip.train --out FOLDER --fp32 --seed 1 --width 16 --steps 700 --batch-size 96 --pictures 6000

makes a second encoder in ten minutes. What is finished is not done again; with --minutes no further step begins after
so many.
"""

import argparse
import json
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import torch
from readout import readout
from runs import figures, interval

from competition_layers.files import write_file
from dissect import Dissection, Sight, judge_layer
from dissect.report.verdict_table import write_verdicts
from lwta.commands import describe, describe_train, judge
from lwta.commands.demo import paint
from lwta.demo_networks import Settings, train
from lwta.scene_truth import scene_truth

DESCRIBERS = "lwta,clip-dissect,dnd,patches,milan,milan-free"
OURS = "lwta"
BESIDE = ("soft_wpmi",)  # similarities of clip-dissect, in dissections of their own
LAYERS = {"sparse": "decision", "dense": "layer4.0.act2"}
TIMED = ["layer2.0.act2", "layer3.0.act2", "layer4.0.act2"]  # 48 + 64 + 96 units of the dense network
COLUMNS = ("r", "AUPRC", "rivals", "CoSy AUC", "true r", "true AUPRC", "F1", "IoU", "effect")
JUDGES = ("own", "second", "readout")  # the encoder of the names, another CLIP, another network's features


def settings_of(seed: int, *, quick: bool) -> Settings:
    if quick:
        return Settings(train=300, probe=120, test=40, epochs=1, units=16, seed=seed)
    return Settings(train=1000, probe=300, test=100, epochs=4, units=16, batch_size=16, lr=6e-3, seed=seed)


def steps(out: Path, options: argparse.Namespace) -> Iterator[tuple[Path, Callable[[], object]]]:
    """What is written, and what writes it, in their order."""
    milan = out / "milan"
    taught = ["milan", f"--out={milan}", f"--pictures={100 if options.quick else 400}", "--hidden=128"]
    yield milan / "milan.json", lambda: describe_train.main([*taught, f"--epochs={2 if options.quick else 12}"])
    for name in LAYERS:  # all sparse networks, then their twins
        for seed in range(options.seeds):
            place, settings = out / f"seed-{seed}", settings_of(seed, quick=options.quick)
            place.mkdir(parents=True, exist_ok=True)
            yield place / "scenes" / "test", lambda place=place, settings=settings: paint(place / "scenes", settings)
            run = place / name
            yield run / "done.json", lambda run=run, settings=settings: trained(run, settings)
            yield from described(place, name, milan)
            yield from judged(place, name, options)
        for seed in range(options.seeds):
            place, other = out / f"seed-{seed}", out / f"seed-{(seed + 1) % options.seeds}"
            if options.seeds > 1:
                done = place / f"{name}-readout.json"
                yield done, lambda place=place, name=name, other=other: read_out(place, name, other)
    yield out / "timed.json", lambda: timed(out, milan)


def trained(run: Path, settings: Settings) -> None:
    train(run, run.parent / "scenes", settings, run.name == "sparse")
    write(run / "done.json", figures(run) or {})


def described(place: Path, name: str, milan: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    common = [f"--model={place / name}", f"--probe={place / 'scenes' / 'probe'}", f"--layers={LAYERS[name]}"]
    asked = {"all": [f"--describer={DESCRIBERS}", f"--milan={milan}"]}
    asked |= {similarity: [f"--similarity={similarity}"] for similarity in BESIDE}
    asked["random"] = ["--describer=lwta,clip-dissect", "--beside-random"]
    for what, words in asked.items():
        out = place / f"{name}-{what}"
        yield out / "manifest.json", lambda words=[*common, *words, f"--out={out}"]: describe.main(words)


def judged(place: Path, name: str, options: argparse.Namespace) -> Iterator[tuple[Path, Callable[[], object]]]:
    probe = place / "scenes" / "probe"
    folders = [str(place / f"{name}-{what}") for what in ("all", *BESIDE)]
    random = f"--untrained={place / f'{name}-random' / 'random_weights'}"
    common = [*folders, f"--truth={probe}", f"--images={probe}", random]
    own, second = (place / f"{name}-{each}.json" for each in ("own", "second"))
    yield own, lambda: judge.main([*common, "--effects", f"--out={own}"])
    if options.second is not None and (options.second / "open_clip_model.safetensors").is_file():
        yield second, lambda: judge.main([*common, f"--evaluator={options.second}", f"--out={second}"])


def read_out(place: Path, name: str, other: Path) -> None:
    """Judged by the features of another seed's network."""
    probe = place / "scenes" / "probe"
    opened = {what: Dissection.open(place / f"{name}-{what}") for what in ("all", *BESIDE)}
    phrases = {phrase for each in opened.values() for phrase in each.space().names}
    first = opened["all"]
    judge_by = readout(other / "sparse", other / "scenes" / "train", probe, phrases)
    truth = scene_truth(probe, first.images, sorted(phrases))
    table = judge_layer(opened, LAYERS[name], Sight(judge_by, truth))
    write_verdicts(place / f"{name}-readout.json", [(", ".join(opened), table)])


def timed(out: Path, milan: Path) -> None:
    """One run of all describers on the units of three layers, into a fresh folder: time by the clock and of the
    processor."""
    place = out / "seed-0"
    words = [f"--model={place / 'dense'}", f"--probe={place / 'scenes' / 'probe'}", *(f"--layers+={x}" for x in TIMED)]
    started, before = time.perf_counter(), processor()
    describe.main([*words, f"--describer={DESCRIBERS}", f"--milan={milan}", f"--out={out / 'timed'}"])
    wall, used = time.perf_counter() - started, processor() - before
    manifest = json.loads((out / "timed" / "manifest.json").read_text())
    units = sum(about["units"] for about in manifest["layers"].values())
    write(out / "timed.json", {"units": units, "wall": wall, "processor": used})


def processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def write(path: Path, found: object) -> None:
    with write_file(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def tables(out: Path, seeds: int) -> None:
    """Prints the means over finished seeds, the leads of the first method, and how the judges rank the methods."""
    for name, layer in LAYERS.items():
        places = [out / f"seed-{seed}" / f"{name}-own.json" for seed in range(seeds)]
        found = [read_verdicts(path, name) for path in places if path.is_file()]
        if not found:
            continue
        trainings = [path.parent / name / "done.json" for path in places if path.is_file()]
        right = interval([100 * json.loads(path.read_text())["val_accuracy"] for path in trainings], digits=1)
        units = ", ".join(f"{len(each['units'])} of {each['of']}" for each in found)
        print(f"\n**{name}**, {layer}: {len(found)} networks, {right} % right; judged units: {units}\n")
        lines(found)
        ranks(out, name, seeds)
    if (out / "timed.json").is_file():
        took = json.loads((out / "timed.json").read_text())
        times = f"{took['wall']:.0f} s by the clock, {took['processor']:.0f} s of the processor"
        print(f"\n{took['units']} units, all describers: {times}")


def read_verdicts(path: Path, name: str) -> dict:
    """The table of one judge; methods by their own names, not by the folders that they stand in."""
    table = json.loads(path.read_text())["layers"][0]
    for one in table["verdicts"]:
        one["method"] = re.sub(f"^({name}-)?(all: )?", "", one["method"])
    return table


def lines(found: list[dict]) -> None:
    cells: dict[tuple[str, str], dict[str, dict[int, float]]] = {}  # by the number of the network
    for i, each in enumerate(found):
        for one in each["verdicts"]:
            if one["mean"] is not None and not one["control"].startswith("best of"):
                row = cells.setdefault((one["method"], one["control"]), {})
                row.setdefault(one["measure"], {})[i] = one["mean"]
    shown = [c for c in COLUMNS if any(c in row for row in cells.values())]
    print("| method | " + " | ".join(shown) + " |\n|---|" + "---|" * len(shown))
    for (method, control), row in cells.items():
        if control in ("", "random weights") or method == OURS:
            title = method if not control else f"{method}, {control}"
            print(f"| {title} | " + " | ".join(short([*row.get(column, {}).values()]) for column in shown) + " |")
    print(f"\n| {OURS} ahead of | " + " | ".join(shown) + " |\n|---|" + "---|" * len(shown))
    ours = cells[OURS, ""]
    for (method, control), row in cells.items():
        if method != OURS and not control:
            both = [(ours.get(column, {}), row.get(column, {})) for column in shown]
            leads = [[a[i] - b[i] for i in a if i in b] for a, b in both]
            print(f"| {method} | " + " | ".join(short(lead, sign="+") for lead in leads) + " |")


def ranks(out: Path, name: str, seeds: int) -> None:
    """How the methods rank by each judge, and by the truth: Kendall's tau with the truth and with the names' encoder,
    mean over seeds."""
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for seed in range(seeds):
        for each in JUDGES:
            path = out / f"seed-{seed}" / f"{name}-{each}.json"
            said = read_verdicts(path, name)["verdicts"] if path.is_file() else []
            for measure in ("r", "AUPRC", *(("true r",) if each == "own" else ())):
                kept = {one["method"]: one["mean"] for one in said if one["measure"] == measure and not one["control"]}
                if kept:
                    rows.setdefault(measure if measure == "true r" else f"{measure}, {each}", {})[seed] = kept
    methods = list(next(iter(rows["true r"].values())))
    print(
        "\n| judge | "
        + " | ".join(methods)
        + " | tau with true r | tau with own |\n|---|"
        + "---|" * (len(methods) + 2)
    )
    for title, by_seed in rows.items():
        cells = [short([one.get(method, float("nan")) for one in by_seed.values()]) for method in methods]
        taus = [
            tau_over(by_seed, rows[other])
            for other in ("true r", title.replace("second", "own").replace("readout", "own"))
        ]
        print(f"| {title} | {' | '.join(cells)} | {taus[0]} | {taus[1]} |")


def tau_over(one: dict[int, dict[str, float]], other: dict[int, dict[str, float]]) -> str:
    both = [(one[seed], other[seed]) for seed in one if seed in other]
    return (
        f"{fmean(tau([a[m] for m in a if m in b], [b[m] for m in a if m in b]) for a, b in both):.2f}" if both else ""
    )


def tau(one: list[float], other: list[float]) -> float:
    """Kendall's rank correlation: concordant minus discordant pairs, over all pairs."""
    a, b = (torch.tensor(x)[:, None] - torch.tensor(x)[None] for x in (one, other))
    return float((a.sign() * b.sign()).sum() / (len(one) * (len(one) - 1)))


def short(values: list[float], *, sign: str = "") -> str:
    return interval(values, sign=sign).replace("0.", ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/judged"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--second", type=Path, help="the folder of a second encoder")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further step after so many")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--quick", action="store_true", help="one seed, tiny")
    options = parser.parse_args()
    if options.quick:
        options.out, options.seeds = options.out.with_name(f"{options.out.name}-quick"), 1
    torch.set_num_threads(1)
    started = time.monotonic()
    for path, make in () if options.table else steps(options.out, options):
        if path.exists():
            continue
        if time.monotonic() - started > 60 * options.minutes:
            print(f"stopped before {path}; the same command goes on")
            break
        print(f"== {path}", flush=True)
        make()
    tables(options.out, options.seeds)


if __name__ == "__main__":
    main()
