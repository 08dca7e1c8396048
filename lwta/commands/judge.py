"""`lwta judge`: how good the descriptions of dissections are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from competition_layers.terminal import aligned

from ..parsing import parse_call
from .compare import short_names

if TYPE_CHECKING:
    from dissect.judging.judging import LayerQuality


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(judge, argv, prog="lwta judge", positionals=["dissections"])
    return 0


def judge(dissections: list[str], truth: Path | None = None) -> None:
    """Say of each layer how many units have a name, how well names predict units, and how often they are right.

    Args:
        dissections: folders that `lwta describe` wrote.
        truth: the probe's pictures, SCENES/SPLIT of painted scenes, where it is known what they show.
    """
    from dissect import Dissection, judge_descriptions

    from ..scene_truth import scene_truth

    opened = {name: Dissection.open(folder) for name, folder in zip(short_names(dissections), dissections, strict=True)}
    rows = [HEADER + (TRUTH if truth else ())]
    for name, dissection in opened.items():
        known = scene_truth(truth, dissection.images, dissection.concepts) if truth else None
        rows += [_row(name, quality, known) for quality in judge_descriptions(dissection, truth=known)]
    print("\n".join(aligned(rows, left=(0, 1))))
    print("\n".join(FOOT + (TRUTH_FOOT if truth else ())))


HEADER = (
    *("dissection", "layer", "units", "named", "weak", "chance", "rival", "too few", "distinct", "r", "r named"),
    *("precision", "mismatched r", "passes", "own better"),
)
TRUTH = ("checked", "right", "AUC", "AUPRC", "lift")
FOOT = (
    "r: mean correlation of a unit with the score of its best concept, on images that did not choose it, under the",
    "same encoder; r named: of those that became names; precision: AUPRC of a unit's top 5 % of images (chance .05).",
    "weak (r below --least_r), chance, rival, too few: units without a name, and why; of the named, 5 % at most are",
    "expected to be chance.",
    "mismatched: every judged unit with another's name: its r, how often the null alone would let that pass, and how",
    "often the unit's own name predicts it better. Words that go together pass, so this is a control, not the test.",
)
TRUTH_FOOT = (
    "right: names that correlate with what is in the pictures at least .7 times as much as the best known concept;",
    "AUC, AUPRC: finding the pictures with the named thing by the unit; lift: AUPRC over their share.",
)


def _row(name: str, quality: "LayerQuality", known: object) -> tuple[str, ...]:
    control, found = quality.control, quality.truth
    row = [name, quality.layer, *map(str, (quality.units, *quality.outcomes.values(), quality.distinct))]
    row += map(_number, (quality.predictability, quality.named_predictability, quality.precision))
    if control:
        row += [_number(control.predictability), f"{control.significant:.0%}", f"{control.own_is_better:.0%}"]
    else:
        row += [""] * 3
    if found:
        row += [str(found.units), f"{found.right:.0%}", *map(_number, (found.auc, found.precision, found.lift))]
    elif known is not None:
        row += ["0", *[""] * 4]
    return tuple(row)


def _number(value: float) -> str:
    return "" if value != value else f"{value:.2f}"
