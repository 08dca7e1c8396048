"""What the units of a decision layer are called: does a decision rest on names of the class itself, or on others?

    python benchmarks/decision_names.py --demo DIR [--out DIR]

Layers on the frozen dense network of a demo (DIR of `lwta demo --out DIR`; where there is none, one of 2,000 pictures
and 4 epochs is made), one seed, trained on its training pictures; named on its probe pictures by the bundled CLIP
(names hold on the other half), read on 2,000 test pictures of another seed. Tautology: the share of the lead carried
by units whose name is the predicted class or a near-synonym. *Non-negative*: `DecisionLayer(votes="non_negative")`.
Every layer is a JSON file: a run that was stopped goes on where it was.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from frozen_features import scenes_features, scenes_network, test_scenes

from competition_layers import DecisionLayer, add_decision
from competition_layers.files import write_file
from dissect import DescribeOptions, describe, load_concepts, load_encoder, open_probe
from dissect.comparing.decisions import measure_decision, named_decisions
from dissect.comparing.measuring import inputs_of
from lwta.commands.demo import QUICK, Settings, run_demo
from training.decision.fitting import Fitting, fit_decision, logits_of

MIDDLE = Settings(train=2000, probe=600, test=400, epochs=4, explained=3)
ONE_EACH = DecisionLayer(64, 64, at="positions", noise_scale=0.3)  # one winner a place
LAYERS = {  # those of stage 3 stand on the features before the last stage
    "positions, 1 group of 64, non-negative": replace(ONE_EACH, votes="non_negative"),
    "positions, 1 group of 64, focus .3": replace(ONE_EACH, focus=0.3),
    "pooled, 10 groups of 16": DecisionLayer(),
    "pooled, 10 groups of 16, non-negative": DecisionLayer(votes="non_negative"),
    "stage 3, positions, 1 group of 64, focus .3": replace(ONE_EACH, focus=0.3),
    "stage 3, pooled, 10 groups of 16": DecisionLayer(),
}


def run(demo: Path, out: Path, fitting: Fitting) -> None:
    """Train, name and read each layer of `LAYERS`."""
    for i, (key, decision) in enumerate(LAYERS.items()):
        path = out / f"names-{i}.json"
        if path.is_file():
            continue
        stages = 3 if key.startswith("stage 3") else 4
        split = scenes_features(demo, out, at=decision.at, stages=stages)
        head = fit_decision(split["train"], split["train_labels"], decision, classes=10, fitting=fitting)
        model = scenes_network(demo, stages)
        add_decision(model, decision, head=head)
        probe = open_probe(demo / "scenes" / "probe")
        options = DescribeOptions(layers=["decision"])
        dissection = describe(
            model, probe, load_concepts("scenes"), load_encoder("bundled"), path.with_suffix(""), options
        )
        pictures = inputs_of(model, open_probe(test_scenes(out)), 100)
        found = measure_decision(model, pictures, named_decisions(dissection, model.lwta.label_names))
        right = (logits_of(head, split["test"]).argmax(1) == split["test_labels"]).float().mean().item()
        with write_file(path) as temporary:
            temporary.write_text(json.dumps({"layer": key, "accuracy": right, **asdict(found)}, indent=1))
        print(path.read_text(), flush=True)


def tell(out: Path) -> None:
    print("\n| layer | accuracy | for 90 % | classes a unit serves | dead | deciding units named | names | tautology |")
    print("|---|" + "---:|" * 7)
    for path in sorted(out.glob("names-*.json")):
        f = json.loads(path.read_text())
        names = f["names"]
        print(
            f"| {f['layer']} | {100 * f['accuracy']:.1f} | {f['units_for_lead']:g} | {f['classes_served']:.1f} "
            f"| {100 * f['dead']:.0f} % | {100 * names['named']:.0f} % | {names['distinct']:.1f} "
            f"| {100 * names['tautology']:.0f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks-decision"))
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="one epoch, in a folder of its own")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    out, epochs = (asked.out / "quick", 1) if asked.quick else (asked.out, asked.epochs)
    out.mkdir(parents=True, exist_ok=True)
    demo = out / "demo" if asked.quick else asked.demo
    if not (demo / "dense").is_dir():
        run_demo(demo, QUICK if asked.quick else MIDDLE)
    run(demo, out, Fitting(epochs=epochs))
    tell(out)


if __name__ == "__main__":
    main()
