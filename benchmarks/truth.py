"""Names against painted objects: the share of right names of trained networks, by layer and similarity.

    python benchmarks/truth.py [--out DIR] [--runs RUN RUN ... --probe SCENES/SPLIT] [--quick]

Without runs the demo's two networks are trained in DIR, those of the whole demo or (`--quick`) of the small one. What
is finished is not made again. "all": the best concept of every unit, as if each had to have a name; "named": those that
hold on other images. IoU: where a unit is strongest against where the named thing was painted (Network Dissection's, at
.5 % of the places; above .04 it calls a unit a detector), over the units named after a thing that has a place.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from competition_layers import load_model, observe
from competition_layers.files import write_file
from competition_layers.wiring.sites import Site
from dissect import SIMILARITIES, DescribeOptions, Naming, describe, load_concepts, load_encoder, open_probe
from dissect.explaining.find_units import answers_of
from dissect.judging.truth import agreement, overlap
from dissect.naming.description import Description
from dissect.naming.synonyms import plain_form
from dissect.probe.passes import batches
from dissect.recording.subject import default_transform
from lwta.bundled_clip.statements import all_statements
from lwta.commands.demo import paint
from lwta.demo_networks import FULL, QUICK, one_thread, train
from lwta.scene_truth import scene_truth, scenes_by_name

DETECTOR = 0.04


def networks(out: Path, *, quick: bool) -> tuple[dict[str, Path], Path]:
    """The demo's networks, trained in `out` where they are not yet, and its probe."""
    settings = QUICK if quick else FULL
    scenes, runs = paint(out / "scenes", settings), {}
    for name in ("dense", "sparse"):
        runs[name] = out / name
        config = runs[name] / "model" / "config.json"
        if not (config.is_file() and json.loads(config.read_text()).get("training", {}).get("finished")):
            train(runs[name], scenes, settings, name == "sparse")
    return runs, scenes / "probe"


def places_of(phrase: str, scenes: Sequence[Any]) -> Tensor | None:
    """Where the thing that a phrase names was painted, bool (images, size, size); None for what has no place."""
    about = next(
        (fact.about for fact in all_statements() if plain_form(phrase) in map(plain_form, fact.phrases)
         and fact.sort in ("object", "pair", "colour")),
        None,
    )  # fmt: skip
    if about is None:
        return None
    size = scenes[0].image.width
    masks = np.zeros((len(scenes), size, size), bool)
    for row, scene in zip(masks, scenes, strict=True):
        for thing in scene.things:
            if set(about) <= {thing.name, thing.colour}:
                row |= thing.mask
    return torch.from_numpy(masks)


@torch.no_grad()
def maps_of(model: nn.Module, probe: Any, site: Site) -> Tensor:
    """The maps of a place of units on every probe image: images x units x rows x columns."""
    found = []
    for x in batches(probe, default_transform(model), batch_size=64):
        with observe(model, [site.name]) as outputs:
            model(x)
        found.append(outputs[site.name].movedim(site.channel_dim, 1).half())
    return torch.cat(found)


def row_of(
    units: Sequence[Description],
    answers: Tensor,
    truth: Mapping[str, Tensor],
    maps: Tensor,
    masks: Mapping[str, Tensor],
) -> dict[str, Any]:
    """How right these names are."""
    found = agreement(units, answers, truth)
    ious = [overlap(maps[:, u.unit].float(), masks[u.description]) for u in units if u.description in masks]
    return {
        "units": len(units),
        **(asdict(found) | {"checked": found.units, "units": len(units)} if found else {"checked": 0}),
        "with_place": len(ious),
        "iou": sum(ious) / len(ious) if ious else None,
        "detectors": sum(iou > DETECTOR for iou in ious) / len(ious) if ious else None,
    }


def measure(name: str, run: Path, probe_folder: Path, out: Path, similarities: Sequence[str]) -> None:
    """The rows of one network, a file each similarity; those that are there are kept."""
    missing = [s for s in similarities if not (out / "rows" / f"{name}-{s}.json").is_file()]
    if not missing:
        return
    model, probe, concepts = load_model(str(run)), open_probe(probe_folder), load_concepts("scenes")
    sites = model.lwta.sites
    layers = [site.name for site in sites]
    truth = scene_truth(probe_folder, probe.names, concepts.names)
    by_name = scenes_by_name(probe_folder)
    scenes = [by_name[image] for image in probe.names]
    masks = {phrase: m for phrase in concepts.names if (m := places_of(phrase, scenes)) is not None}
    encoder = load_encoder("bundled")
    for similarity in missing:
        dissection = describe(
            model, probe, concepts, encoder, out / f"names-{name}", DescribeOptions(layers, naming=Naming(similarity))
        )
        rows = []
        for site in sites:
            layer = site.name
            answers, maps = answers_of(dissection, layer), maps_of(model, probe, site)
            units = [dissection.description(layer, unit) for unit in range(dissection.units(layer))]
            every = [replace(u, description=u.candidates[0].description) for u in units if u.candidates]
            named = [unit for unit in units if unit.named]
            for which, some in (("all", every), ("named", named)):
                rows.append({"layer": layer, "which": which, **row_of(some, answers, truth, maps, masks)})
        with write_file(out / "rows" / f"{name}-{similarity}.json") as temporary:
            temporary.write_text(json.dumps(rows, indent=1) + "\n")


def show(out: Path, names: Sequence[str], similarities: Sequence[str]) -> None:
    """The table of what is there; what is missing is said."""
    head = f"{'network':10} {'layer':16} {'similarity':16} {'which':6}"
    print(f"{head} units checked  right   AUC AUPRC  lift   IoU detectors")
    for name in names:
        for similarity in similarities:
            path = out / "rows" / f"{name}-{similarity}.json"
            if not path.is_file():
                print(f"{name:10} {similarity}: missing")
                continue
            rows = json.loads(path.read_text())
            for row in [*rows, *(over_layers(rows, which) for which in ("all", "named"))]:
                figures = [row.get(key) for key in ("right", "auc", "precision", "lift", "iou", "detectors")]
                cells = " ".join("     " if figure is None else f"{figure:5.2f}" for figure in figures)
                print(
                    f"{name:10} {row['layer']:16} {similarity:16} {row['which']:6} {row['units']:5} "
                    f"{row['checked']:7}  {cells}"
                )


def over_layers(rows: Sequence[Mapping[str, Any]], which: str) -> dict[str, Any]:
    """The means over the units of every layer."""
    some = [row for row in rows if row["which"] == which]

    def mean(key: str, by: str) -> float | None:
        known = [(row[key], row[by]) for row in some if row.get(key) is not None]
        return sum(value * units for value, units in known) / sum(units for _, units in known) if known else None

    return {
        "layer": "every layer",
        "which": which,
        **{key: sum(row[key] for row in some) for key in ("units", "checked")},
        **{key: mean(key, "checked") for key in ("right", "auc", "precision", "lift")},
        **{key: mean(key, "with_place") for key in ("iou", "detectors")},
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, help="default: runs/truth, or runs/truth-quick")
    parser.add_argument("--runs", nargs="+", type=Path, help="trained networks, instead of the demo's")
    parser.add_argument("--probe", type=Path, help="with --runs: a split of painted scenes")
    parser.add_argument("--similarity", nargs="+", default=list(SIMILARITIES), choices=list(SIMILARITIES))
    parser.add_argument("--quick", action="store_true", help="the small demo's networks")
    options = parser.parse_args(argv)
    if bool(options.runs) != bool(options.probe):
        parser.error("Expected --runs and --probe together")
    out = options.out or Path("runs/truth-quick" if options.quick else "runs/truth")
    with one_thread():
        if options.runs:
            runs, probe = {run.name: run for run in options.runs}, options.probe
        else:
            runs, probe = networks(out, quick=options.quick)
        for name, run in runs.items():
            measure(name, run, probe, out, options.similarity)
    show(out, list(runs), options.similarity)


if __name__ == "__main__":
    main()
