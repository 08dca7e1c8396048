"""Dense networks converted to U = 4 and U = 8 in 15 % of their epochs, and what each ingredient is worth.

    python benchmarks/conversion.py --data DIR --teachers DIR [--network vit resnet scenes] [--part main ablation]

`--data` holds CIFAR-10 as for `benchmarks/accuracy.py`, whose dense runs are the teachers: DIR/NETWORK-dense-SEED,
trained here where they are missing. Beside the converted networks stands the control: the dense network trained on for
as long, by the same recipe and taught by itself. What is finished is skipped; a partial table says so. Choices are read
off validation images with seed 0 alone (`--part screen`); the test set is read once for each run of the other parts.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from runs import CONFIGS, OPTIONS, all_of, figures, interval, lwta, pictures

SHARE = 0.15  # of the dense network's epochs


@dataclass(frozen=True)
class Setting:
    """One row: a name, and what differs from the defaults of `lwta convert`."""

    name: str
    options: tuple[str, ...] = ()


CONTROL = Setting("dense, trained on", ("--competitors=1",))
U4, U8 = (Setting(f"U={u}", (f"--competitors={u}",)) for u in (4, 8))


def without(name: str, *options: str) -> Setting:
    return Setting(f"U=8, {name}", (*U8.options, *options))


ABLATION = [
    U8,
    without("grouped by index", "--conversion.grouping=index"),
    without("grouped at random", "--conversion.grouping=random"),
    without("swapped at once", "--conversion.swap=0"),
    without("no distillation", "--conversion.distillation=0"),
    without("batch norm not re-estimated", "--reestimate_batch_norm=0"),
]
# half and twice the default, which is half of the dense network's
RATES = {"vit": ("2.5e-4", "1e-3"), "resnet": ("2.5e-3", "1e-2"), "scenes": ("7.5e-4", "3e-3")}


def settings_of(part: str, network: str) -> list[Setting]:
    """The rows of a table."""
    if part == "main":
        return [CONTROL, U4, U8]
    if part == "ablation":
        return [s for s in ABLATION if network != "vit" or "batch norm" not in s.name]  # it has none
    return [
        U8,
        *(without(f"lr {lr}", f"--lr={lr}") for lr in RATES[network]),
        *(without(f"swap over {share}", f"--conversion.swap={share}") for share in (0, 0.25, 0.8)),
        *(without(f"distillation {weight}", f"--conversion.distillation={weight}") for weight in (0, 0.9)),
        *(without(f"softness {softness}", f"--conversion.softness={softness}") for softness in (1, 4)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--teachers", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--out", type=Path, default=Path("runs/conversion"))
    parser.add_argument("--network", choices=tuple(CONFIGS), nargs="+", default=tuple(CONFIGS))
    parser.add_argument("--part", choices=("main", "ablation", "screen"), nargs="+", default=("main", "ablation"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    parser.add_argument("--quick", action="store_true", help="next to nothing, to show the stream")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    options = parser.parse_args()
    if options.quick:
        options.out, options.teachers = options.out / "quick", options.out / "quick"
        options.network, options.part, options.seeds = ("scenes",), ("main",), min(2, options.seeds)
    for network in options.network:
        images = pictures(network, options)
        if images is None:
            print(f"no images for {network} in {options.data}: nothing to do")
            continue
        seeds = range(options.seeds)
        if not options.table:
            all_of(teach, [(network, seed, images, options) for seed in seeds], workers=options.workers)
        for part in options.part:
            settings = settings_of(part, network)
            jobs = [(s, seed) for seed in (range(1) if part == "screen" else seeds) for s in settings]
            if not options.table:
                arguments = [(network, s, seed, images, options, part != "screen") for s, seed in jobs]
                all_of(convert, arguments, workers=options.workers)
            report(network, part, settings, jobs, options)


def teacher_of(network: str, seed: int, options: argparse.Namespace) -> Path:
    return options.teachers / f"{network}-dense-{seed}"


def teach(network: str, seed: int, images: Path, options: argparse.Namespace) -> None:
    """Train a dense network and read its test set, where that was not done before."""
    run = teacher_of(network, seed, options)
    place, log = (f"--run={run.name}", f"--runs_dir={run.parent}"), options.out / f"{run.name}.log"
    if figures(run) is None:
        lwta(
            *("fit", "-c", CONFIGS[network], *place, "--overwrite", *OPTIONS[network], "--model.competitors=1"),
            *(f"--seed_everything={seed}", f"--data.data_dir={images}", "--trainer.check_val_every_n_epoch=100"),
            *(("--trainer.max_epochs=1", "--data.splits.subset=256") if options.quick else ()),
            log=log,
        )
    if not (run / "test.json").is_file():
        lwta("test", *place, log=log)


def share(options: argparse.Namespace) -> float:
    return 0.5 if options.quick else SHARE  # of the dense network's epochs


def run_of(network: str, setting: Setting, seed: int, options: argparse.Namespace) -> Path:
    safe = "".join(c if c.isalnum() or c in "=.-" else "_" for c in setting.name)
    return options.out / f"{network}-{safe}-{seed}"


def convert(network: str, setting: Setting, seed: int, images: Path, options: argparse.Namespace, final: bool) -> None:
    """Convert one dense network, and read the test set where asked; both only if that was not done before."""
    run, teacher = run_of(network, setting, seed, options), teacher_of(network, seed, options)
    place, log = (f"--run={run.name}", f"--runs_dir={options.out}"), options.out / f"{run.name}.log"
    if figures(run) is None:
        epochs = share(options) * figures(teacher)["epochs"]
        lwta(
            *("convert", teacher, *place, "--overwrite", f"--data={images}", f"--epochs={epochs:g}"),
            *(f"--seed={seed}", '--trainer_options={"check_val_every_n_epoch": 100}', *setting.options),
            log=log,
        )
        print(f"{run.name}: validation {figures(run)['val_accuracy']:.4f}", flush=True)
    if final and not (run / "test.json").is_file():
        lwta("test", *place, log=log)


def report(network: str, part: str, settings: list[Setting], jobs: list, options: argparse.Namespace) -> None:
    found = {(s, seed): figures(run_of(network, s, seed, options)) for s, seed in jobs}
    teachers = {seed: figures(teacher_of(network, seed, options)) for _, seed in jobs}
    finished = sum(r is not None for r in found.values())
    partial = "" if finished == len(jobs) else f" (PARTIAL: {finished} of {len(jobs)} runs)"
    read = "val_accuracy" if part == "screen" else "test_accuracy"
    print(f"\n{network}, {part}: {read.split('_')[0]} images{partial}")
    print(f"| network | accuracy | minus dense | minus dense, trained on | epochs | seconds |\n|---|{'---:|' * 5}")
    dense = {seed: 100 * r[read] for seed, r in teachers.items() if r and read in r}
    control = {
        seed: 100 * r[read]
        for seed in teachers
        if (r := figures(run_of(network, CONTROL, seed, options))) and read in r
    }
    epochs = next((r["epochs"] for r in teachers.values() if r), 0)
    seconds = [r["seconds"] for r in teachers.values() if r]
    if dense:
        print(f"| dense (n={len(dense)}) | {interval([*dense.values()])} | | | {epochs} | {mean(seconds):.0f} |")
    for setting in settings:
        rows = {seed: r for s, seed in jobs if s == setting and (r := found[s, seed]) and read in r}
        if not rows:
            continue
        score = {seed: 100 * r[read] for seed, r in rows.items()}
        against = [
            interval([score[seed] - other[seed] for seed in score if seed in other]) for other in (dense, control)
        ]
        if setting == CONTROL:
            against[1] = ""
        columns = [interval([*score.values()]), *against, f"{share(options) * epochs:.2f} ({share(options):.0%})"]
        columns.append(f"{mean(r['seconds'] for r in rows.values()):.0f}")
        print(f"| {setting.name} (n={len(rows)}) | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
