"""Dense twin and U = 2, 4, 8 on CIFAR-10 and the scenes: accuracy over seeds, and what each choice is worth.

    python benchmarks/accuracy.py --data DIR [--network vit resnet scenes] [--part screen final] [--seeds 5] [--out DIR]

The data folder holds `cifar10_jpeg_imagefolder.tar.gz`, or the folders `train` and `test` themselves; the scenes are
painted. Each setting is one run of `lwta fit` by the network's recipe in configs/train with a few options changed. What
is finished is skipped, so the script can be stopped and started at will, and a partial table says so. Choices are read
off validation images (`screen`, one seed); the test set is read once for each run of `final`. `--quick` trains next to
nothing, to show the stream.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import yaml
from runs import CONFIGS, OPTIONS, all_of, figures, interval, lwta, pictures

NOISE, SCHEDULE = "--model.competition.noise_scale=1", '--model.annealing.noise_scale={"end": 0.0, "until": 0.7}'
RELAXED = "--model.competition.estimator=relaxed"


@dataclass(frozen=True)
class Setting:
    """One row: a name, and what differs from the YAML."""

    name: str
    changes: tuple[str, ...] = ()


def competitors(u: int) -> Setting:
    return Setting("dense" if u == 1 else f"U={u}", (f"--model.competitors={u}",))


# the learning rates that dense and sparse are tried with; the screen stands at the first
RATES = {"vit": ("1e-3", "2e-3"), "resnet": ("3e-3", "1e-3", "1e-2"), "scenes": ("3e-3", "1e-3", "1e-2")}


def at_rate(u: int, lr: str, name: str = "", *options: str) -> Setting:
    base = competitors(u)
    return Setting(
        f"{base.name}, lr {lr}{name and ', '}{name}", (*base.changes, f"--model.optimizer.lr={lr}", *options)
    )


def screened(network: str) -> list[Setting]:
    """One factor at a time from U = 8 without noise; the dense twin with as many learning rates."""
    first = RATES[network][0]

    def change(name: str, *options: str) -> Setting:
        return at_rate(8, first, name, *options)

    settings = [
        *(at_rate(u, lr) for u in (1, 8) for lr in RATES[network]),
        change("noise 1 throughout", NOISE),
        change("noise 1 to 0", NOISE, SCHEDULE),
        change("noise 1, estimator softmax", NOISE, "--model.competition.estimator=softmax"),
        change("noise 1, estimator relaxed", NOISE, RELAXED),
        change("noise 1 to 0, estimator relaxed", NOISE, SCHEDULE, RELAXED),
        change("temperature 0.3", "--model.competition.temperature=0.3"),
        change("initial gain 2", "--model.start.gain=2"),
        change("KL weight 0.01", "--model.loss.kl_weight=0.01"),
    ]
    if network != "vit":  # which has neither
        settings += [
            change("every block activation competes", "--model.include=layer*"),
            change("noise 1, batch norm re-estimated", NOISE, "--reestimate_batch_norm=40"),
        ]
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--network", choices=tuple(CONFIGS), nargs="+", default=tuple(CONFIGS))
    parser.add_argument("--part", choices=("screen", "final"), nargs="+", default=("screen", "final"))
    parser.add_argument("--seeds", type=int, default=5, help="of the final table")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is finished")
    options = parser.parse_args()
    if options.quick:
        options.out, options.part, options.network, options.seeds = options.out / "quick", ("final",), ("scenes",), 2
    for network in options.network:
        images = pictures(network, options)
        if images is None:
            print(f"no CIFAR-10 images in {options.data}: nothing to do for {network}")
            continue
        for part in options.part:
            settings = screened(network) if part == "screen" else [competitors(u) for u in (1, 2, 4, 8)]
            settings += better_twin(network, options.out) if part == "final" and not options.quick else []
            jobs = [(s, seed) for seed in range(1 if part == "screen" else options.seeds) for s in settings]
            if not options.table:
                arguments = [(network, s, seed, images, options, part == "final") for s, seed in jobs]
                all_of(run, arguments, workers=options.workers)
            report(network, part, settings, jobs, options.out)


def better_twin(network: str, out: Path) -> list[Setting]:
    """The dense twin at the learning rate that the screen found best for it, where that is not the recipe's own."""
    found = {lr: result(out, network, at_rate(1, lr), 0) for lr in RATES[network]}
    scores = {lr: r["val_accuracy"] for lr, r in found.items() if r}
    best = max(scores, key=scores.__getitem__, default=None)
    recipe = yaml.safe_load(Path(CONFIGS[network]).read_text())["model"]["optimizer"]["lr"]
    return [] if best is None or float(best) == float(recipe) else [at_rate(1, best)]


def folder_of(network: str, setting: Setting, seed: int) -> str:
    safe = "".join(c if c.isalnum() or c in "=.-" else "_" for c in setting.name)
    return f"{network}-{safe}-{seed}"


def result(out: Path, network: str, setting: Setting, seed: int) -> dict | None:
    return figures(out / folder_of(network, setting, seed))


def run(network: str, setting: Setting, seed: int, images: Path, options: argparse.Namespace, final: bool) -> None:
    """Train one setting, and read the test set where asked; both only if that was not done before."""
    name = folder_of(network, setting, seed)
    place, log = [f"--run={name}", f"--runs_dir={options.out}"], options.out / f"{name}.log"
    if result(options.out, network, setting, seed) is None:
        small = (
            ["--data.splits.subset=128", "--trainer.max_epochs=1", "--trainer.limit_val_batches=2"]
            if options.quick
            else []
        )
        lwta(
            *("fit", "-c", CONFIGS[network], *place, "--overwrite", *OPTIONS[network]),
            *(f"--seed_everything={seed}", f"--data.data_dir={images}", *setting.changes, *small),
            "--trainer.check_val_every_n_epoch=100",  # once, at the end
            log=log,
        )
        print(f"{name}: validation {result(options.out, network, setting, seed)['val_accuracy']:.4f}", flush=True)
    if final and not (options.out / name / "test.json").is_file():
        small = ["--trainer.limit_test_batches=2"] if options.quick else []
        lwta("test", *place, *small, log=log)


def report(network: str, part: str, settings: list[Setting], jobs: list, out: Path) -> None:
    found = {(s, seed): result(out, network, s, seed) for s, seed in jobs}
    finished = sum(r is not None for r in found.values())
    partial = "" if finished == len(jobs) else f" (PARTIAL: {finished} of {len(jobs)} runs)"
    print(f"\n{network}, {part}{partial}")
    if part == "screen":
        print(f"| setting | validation, argmax | 1 sample | 8 samples | seconds |\n|---|{'---:|' * 4}")
        for setting in settings:
            if r := found[setting, 0]:
                print(f"| {setting.name} | {' | '.join(percents(r, 'val'))} | {r['seconds']:.0f} |")
        return
    print("| network | test, argmax | 1 sample | 8 samples | minus dense | minus better dense | seconds |")
    print(f"|---|{'---:|' * 6}")
    twins = [s for s in settings if s.name.startswith("dense")]
    seeds = sorted({seed for _, seed in jobs})
    score = {key: r["test_accuracy"] * 100 for key, r in found.items() if r and "test_accuracy" in r}
    better = max(twins, key=lambda s: mean([score.get((s, seed), 0.0) for seed in seeds]))
    for setting in settings:
        rows = [r for seed in seeds if (r := found[setting, seed]) and "test_accuracy" in r]
        if not rows:
            continue
        reads = list(zip(*(percents(r, "test") for r in rows), strict=True))
        against = [
            interval([score[setting, k] - score[twin, k] for k in seeds if {(setting, k), (twin, k)} <= score.keys()])
            if setting != twin
            else ""
            for twin in (twins[0], better)
        ]
        columns = [interval([score[setting, k] for k in seeds if (setting, k) in score])]
        columns += [f"{mean(map(float, values)):.2f}" if values[0] != "" else "" for values in reads[1:]]
        seconds = f"{mean(r['seconds'] for r in rows):.0f}"
        print(f"| {setting.name} (n={len(rows)}) | {' | '.join([*columns, *against, seconds])} |")


def percents(r: dict, split: str) -> list[str]:
    """Accuracy by argmax, one sample, n samples; a dense network has one figure for all."""
    names = [f"{split}_accuracy_argmax", f"{split}_accuracy_one_sample", f"{split}_accuracy_8_samples"]
    if names[0] not in r:
        return [f"{100 * r[f'{split}_accuracy']:.2f}", "", ""]
    return [f"{100 * r[name]:.2f}" for name in names]


if __name__ == "__main__":
    main()
