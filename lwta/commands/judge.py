"""`lwta judge`: how good the descriptions of dissections are, and which to believe."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition_layers.terminal import aligned, plain

from ..open_model import open_dissected
from ..parsing import parse_call
from .compare import short_names

if TYPE_CHECKING:
    from dissect import Dissection
    from dissect.judging.judge import Sight


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(judge, argv, prog="lwta judge", positionals=["dissections"])
    return 0


def judge(
    dissections: list[str],
    layers: str | list[str] | None = None,
    truth: Path | None = None,
    evaluator: str | None = None,
    images: str | None = None,
    untrained: str | list[str] | None = None,
    effects: bool = False,
    text_to_image: str | None = None,
    sentence_encoder: str | None = None,
    model: str | None = None,
    out: Path | None = None,
) -> None:
    """Set the methods that describe units against one another, on images that chose no name: one table a layer.

    Dissections of one network on the same images are judged together, on the units that all of them describe.

    Args:
        dissections: folders that `lwta describe` wrote.
        layers: a name or glob of their layers, or a list of them; by default all.
        truth: the probe's pictures, SCENES/SPLIT of painted scenes, where it is known what they show.
        evaluator: the encoder that judges, as --clip of `lwta describe`; by default the dissections' own, which gave
            the names: better another one. It needs --images.
        images: the pictures that were the probe, for --evaluator and --effects.
        untrained: a dissection of the same network with random weights, on the same images; or a list of them.
        effects: switch every unit off, and hold what that does to the classes against its label; needs --images.
        text_to_image: what makes pictures of labels, for the measures of CoSy on them: painter (scenes only),
            found:SOURCE (other pictures than the probe's), or a diffusers model.
        sentence_encoder: a transformers model that holds labels of class units against their classes, beside the judge.
        model: the network, for --effects and --text_to_image; by default the one that `lwta describe` was given.
        out: the tables as a .json or .csv file, or as a page (.html).
    """
    if (evaluator or effects) and images is None:
        raise ValueError("Expected --images, the pictures that were the probe, with --evaluator or --effects")
    if out is not None and out.suffix not in (".json", ".csv", ".html"):
        raise ValueError(f"Expected --out to end in .json, .csv or .html but got {str(out)!r}")
    from competition_layers.names import match_names
    from dissect import Dissection, judge_layer
    from dissect.report.verdict_page import render_verdicts
    from dissect.report.verdict_table import write_verdicts
    from dissect.report.verdict_text import measures_of, measures_text, verdict_text

    random_ones = [untrained] if isinstance(untrained, str) else untrained or []
    opened, blind = (
        {name: Dissection.open(folder) for name, folder in zip(short_names(some), some, strict=True)}
        for some in (dissections, random_ones)
    )
    asked = Asked(truth, evaluator, images, effects, text_to_image, sentence_encoder, model)
    print("\n".join(outcome_table(opened)))
    tables, judges = [], []
    for together in by_network(opened):
        sight = sight_of(together, blind, asked)
        unlearnt = blind_sight(sight, blind, asked)
        judges.append(_who(sight))
        print(f"\nJudged by {plain(judges[-1])}")
        known = next(iter(together.values())).layers
        for layer in match_names(layers, known, what="layer") if layers else known:
            random = {name: each for name, each in blind.items() if layer in each.layers}
            table = judge_layer(together, layer, sight, untrained=random, blind=unlearnt)
            print(verdict_text(table))
            tables.append((", ".join(together), table))
    print("\n".join([*measures_text(measures_of(*(table for _, table in tables))), *FOOT]))
    if out is None:
        return
    if out.suffix == ".html":
        made = {"Judged by": "; ".join(dict.fromkeys(judges))}
        render_verdicts(out, tables, made=made, pages=pages_beside(out, opened))
    else:
        write_verdicts(out, tables)
    print(f"The tables are in {plain(out)}")


BUNDLED = "the bundled CLIP"


@dataclass(frozen=True)
class Asked:
    """What the user gives the judge to look at: see `judge`."""

    truth: Path | None
    evaluator: str | None
    images: str | None
    effects: bool
    text_to_image: str | None
    sentence_encoder: str | None
    model: str | None


def outcome_table(opened: "Mapping[str, Dissection]") -> list[str]:
    """Of each layer how many units have a name, and why the others have none."""
    rows = [("dissection", "layer", "units", "named", "weak", "chance", "rival", "too few", "distinct names")]
    for name, dissection in opened.items():
        for layer in dissection.layers:
            counts = dissection.outcomes(layer)
            names = {dissection.description(layer, unit).description for unit in range(dissection.units(layer))} - {""}
            rows.append((name, layer, *map(str, (dissection.units(layer), *counts.values(), len(names)))))
    return aligned(rows, left=(0, 1))


def pages_beside(out: Path, opened: "Mapping[str, Dissection]") -> dict[str, str]:
    """The judge's page and the pages of the dissections' units that have been written, relative to it."""
    units = {name: each.layout.units_page for name, each in opened.items()}
    found = {f"Units of {name}": os.path.relpath(page, out.parent) for name, page in units.items() if page.is_file()}
    return {"Descriptions judged": out.name, **found}


def by_network(opened: "Mapping[str, Dissection]") -> "list[dict[str, Dissection]]":
    """The dissections that can be set against one another: of the same network on the same images."""
    found: dict[tuple[str, str], dict[str, Dissection]] = {}
    for name, dissection in opened.items():
        key = tuple(dissection.manifest[what]["fingerprint"] for what in ("model", "probe"))
        found.setdefault(key, {})[name] = dissection
    return list(found.values())


def sight_of(together: "Mapping[str, Dissection]", blind: "Mapping[str, Dissection]", asked: Asked) -> "Sight":
    """What the judge looks at for these dissections."""
    from dissect import load_encoder, open_probe
    from dissect.encoders.sentences import load_sentence_encoder
    from dissect.folder.sources import read_encoder
    from dissect.judging.evaluators import other_evaluator, own_evaluator
    from dissect.judging.judge import Sight

    from ..scene_truth import scene_truth

    every = [*together.values(), *blind.values()]
    first = every[0]
    if asked.evaluator is not None:
        assert asked.images is not None
        found = other_evaluator(load_encoder(asked.evaluator), open_probe(asked.images), every)
        evaluator = replace(found, name=BUNDLED if asked.evaluator == "bundled" else asked.evaluator)
    else:  # a dissection may come from anybody: only the encoder that is in the package is loaded because it says so
        own = load_encoder("bundled") if read_encoder(first.folder) == "bundled" else None
        known = own is not None and own.identity == first.manifest["encoder"]
        evaluator = own_evaluator(every, own if known else None)
        evaluator = replace(evaluator, name=BUNDLED) if known else evaluator
    truth = None
    if asked.truth is not None:
        phrases = {name for each in every for name in each.space().names}
        truth = scene_truth(asked.truth, first.images, sorted(phrases))
    sentences = None if asked.sentence_encoder is None else load_sentence_encoder(asked.sentence_encoder)
    return with_network(Sight(evaluator, truth, sentences=sentences), first, asked)


def with_network(sight: "Sight", first: "Dissection", asked: Asked) -> "Sight":
    """The sight, and what the network of a dissection does with units off and with made pictures."""
    from dissect import ConceptSet, load_encoder, open_probe
    from dissect.backends.answers import AnswerStore
    from dissect.backends.loading import Backends
    from dissect.judging.drawn import DrawnPictures
    from dissect.judging.effects import class_effects
    from dissect.recording.layer_reader import LayerReader
    from dissect.recording.subject import default_transform

    if not (asked.effects or asked.text_to_image):
        return sight
    _, network = open_dissected(first.folder, asked.model)
    effects = drawn = None
    if asked.effects:
        assert asked.images is not None
        probe = open_probe(asked.images)

        def effects(layer: str, units: Sequence[int]) -> Any:
            return class_effects(network, probe, layer, units, width=first.units(layer))

    if asked.text_to_image:
        encoder = load_encoder(asked.evaluator or "bundled")
        words = ConceptSet(first.concepts, source="the dissection")
        backends = Backends("", "", asked.text_to_image, AnswerStore(first.layout.answers), encoder, words, open_probe)
        drawn = DrawnPictures(
            backends.load_text_to_image(),
            lambda layer: LayerReader(network, layer, first.summary(layer), default_transform(network)),
            lambda layer: first.record(layer).unit_values(first.summary(layer)),
        ).answers
    return replace(sight, effects=effects, drawn=drawn)


def blind_sight(sight: "Sight", blind: "Mapping[str, Dissection]", asked: Asked) -> "Sight":
    """The same of the network with random weights, as far as its dissection says which one that is."""
    without = replace(sight, effects=None, drawn=None)
    if len({each.manifest["model"]["fingerprint"] for each in blind.values()}) != 1:
        return without
    try:
        return with_network(without, next(iter(blind.values())), replace(asked, model=None))
    except (ValueError, FileNotFoundError) as error:
        print(f"Random weights are judged without their network: {plain(error)}")
        return without


def _who(sight: "Sight") -> str:
    evaluator = sight.evaluator
    return f"{evaluator.name}, which gave the names: better another one" if evaluator.own else evaluator.name


FOOT = (
    "Each method stands by its first candidate, named or not, and what it must beat: one label for all units, the",
    "units' labels exchanged, labels drawn from the list, the best of its candidates beside the best of as many drawn.",
    "±: half of the 95 % bootstrap interval over units. Sanity tests: a measure that passes falls when a right label",
    "loses half of its images (missing), and when it gets as many wrong ones (extra).",
)
