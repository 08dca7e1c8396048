"""What it costs to watch the competition while training: the epoch of a recipe with its readings and without.

    python benchmarks/readings.py [--quick] [--threads 2] [--rounds 9] [--epochs 100]

Timed in turns, medians: a training step, a validation batch that is only classified, one in which the winners are read
too, the first one, in which the effective density is taken as well, and the writing of competition.csv and its picture
when the run is `--epochs` old. An epoch is put together of them as `Classifier` does.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
import torch.nn.functional as F
import yaml
from runs import in_turns

import training
from competition_layers import create_model
from competition_layers.competition import Competition
from training.callbacks.competition_table import CompetitionTable
from training.evaluation import WIN_RATE_BATCHES, Readings

# training and validation batches of an epoch (10,000 pictures of CIFAR-10, a hundredth of ImageNet), and their size
RECIPES = {"cifar10_vit": (157, 79, 64), "cifar10_resnet": (157, 79, 64), "deit_tiny_imagenet": (800, 80, 16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, the first recipe")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, ms, medians of {options.rounds} rounds\n")
    columns = ("step", "batch", "watched", "first", "file", "epoch")
    print(f"{'':22}{''.join(f'{name:>10}' for name in columns)}{'x without':>12}")
    for name, (steps, validations, batch) in list(RECIPES.items())[: 1 if options.quick else None]:
        rounds, batch = (2, 4) if options.quick else (options.rounds, batch)
        cost = medians(network(name), batch, rounds, options.epochs)
        without = steps * cost["step"] + validations * cost["batch"]
        watching = (WIN_RATE_BATCHES - 1) * (cost["watched"] - cost["batch"]) + cost["first"] - cost["batch"]
        figures = [*cost.values(), without]
        print(f"{name:22}{''.join(f'{s * 1e3:10.1f}' for s in figures)}{1 + (watching + cost['file']) / without:12.4f}")


def network(recipe):
    """The sparse network of a file in configs/train/."""
    options = yaml.safe_load((Path(training.__file__).parents[1] / f"configs/train/{recipe}.yaml").read_text())["model"]
    chosen = {key: options[key] for key in ("image_size", "include", "competitors") if key in options}
    args = {**chosen, **options.get("start", {}).get("model_args", {})}
    competition = Competition(**options["competition"])
    return create_model(options["backbone"], num_classes=10, competition=competition, **args)


def medians(model, batch, rounds, epochs) -> dict[str, float]:
    """Seconds of each part of an epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    size = model.pretrained_cfg["input_size"]
    images, labels = torch.randn(batch, *size), torch.randint(model.num_classes, (batch,))
    readings = Readings(model.num_classes, samples=1)

    def step():
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def validate(**how):
        with torch.inference_mode():
            readings.update(model.eval(), images, labels, **how)

    with TemporaryDirectory() as run:
        table = CompetitionTable(Path(run))

        def write(epoch=epochs):
            readings.compute()
            network = SimpleNamespace(site_readings=readings.site_readings())
            readings.reset()
            table.on_train_epoch_end(SimpleNamespace(current_epoch=epoch, is_global_zero=True), network)

        for epoch in range(epochs):
            with torch.inference_mode():
                readings.update(model.eval(), images[:1], labels[:1], with_win_rates=True)
            write(epoch)
        parts = {
            "step": step,
            "batch": lambda: validate(),
            "watched": lambda: validate(with_win_rates=True),
            "first": lambda: validate(with_win_rates=True, with_effective_density=True),
            "file": write,
        }
        return in_turns(parts, rounds)


if __name__ == "__main__":
    main()
