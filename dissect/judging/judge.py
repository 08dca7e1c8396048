"""The judge: every method that describes a layer, by every measure that can be taken, on the same units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from ..folder.dissection import Dissection
from .bench import Answers, Classes, Embed, Evaluator, bench_of
from .methods import Field, field_of
from .verdicts import Lead, Verdict, verdicts

UNTRAINED = "random weights"


@dataclass(frozen=True)
class Sight:
    """What the judge may look at beside a dissection.

    Args:
        truth: for each phrase, on which probe images it is true (1), false (0), or nobody can say (-1).
        effects: of a layer's units, what each class's logit loses without them, (classes, units).
        drawn: of a layer, what its units say on pictures made of labels.
        sentences: embeds phrases by what knows words alone, for units that stand for classes.
    """

    evaluator: Evaluator
    truth: Mapping[str, Int[Tensor, "images"]] | None = None
    effects: Callable[[str, Sequence[int]], Float[Tensor, "classes units"]] | None = None
    drawn: Answers | None = None
    sentences: Embed | None = None


@dataclass(frozen=True)
class LayerVerdicts:
    """The table of one layer; `methods` holds them, the units and who describes which, `images` the held-out ones."""

    methods: Field
    images: int
    verdicts: Sequence[Verdict]
    leads: Sequence[Lead]


def judge_layer(
    dissections: Mapping[str, Dissection],
    layer: str,
    sight: Sight,
    *,
    untrained: Mapping[str, Dissection] | None = None,
    blind: Sight | None = None,
    seed: int = 0,
) -> LayerVerdicts:
    """Every method of `dissections` (of one network, on one probe) on the units of `layer` that all of them describe.

    Labels of the controls are drawn from the concepts of all dissections.

    Args:
        untrained: dissections of the same network with random weights: a row for each of their methods.
        blind: what the judge may look at of that network; None: what it may of the trained one but for what switching
            units off does and what they say on made pictures.

    Raises:
        ValueError: dissections of different networks or probes, or no unit that all methods describe.
    """
    check_same(dissections, ("model", "probe"))
    methods = field_of(dissections, layer)
    if not methods.units:
        raise ValueError(
            f"Expected units of layer {layer!r} that all of {', '.join(methods.missing) or 'no methods'} describe but "
            "got none"
        )
    found, leads, images = _of(dissections, methods, sight, seed)
    if untrained:
        check_same({**untrained, "the trained network": next(iter(dissections.values()))}, ("probe",))
        seen = blind or replace(sight, effects=None, drawn=None)
        random, _, _ = _of(untrained, field_of(untrained, layer), seen, seed)
        found = [*found, *(replace(each, control=UNTRAINED) for each in random if not each.control)]
    return LayerVerdicts(methods, images, found, leads)


def check_same(dissections: Mapping[str, Dissection], what: Sequence[str]) -> None:
    """Whether dissections share the network (`model`) or the images (`probe`).

    Raises:
        ValueError: they do not.
    """
    for each in what:
        if len({dissection.manifest[each]["fingerprint"] for dissection in dissections.values()}) > 1:
            raise ValueError(f"Expected dissections of one {each} but got {', '.join(dissections)}")


def _of(
    dissections: Mapping[str, Dissection], methods: Field, sight: Sight, seed: int
) -> tuple[list[Verdict], list[Lead], int]:
    first = next(iter(dissections.values()))
    bench = bench_of(
        first,
        methods.layer,
        methods.units,
        sight.evaluator,
        truth=sight.truth,
        classes=_classes(first, methods, sight),
        drawn=sight.drawn,
    )
    vocabulary = list(dict.fromkeys(name for each in dissections.values() for name in each.concepts))
    return (*verdicts(bench, methods.methods, vocabulary, seed=seed), bench.images)


def _classes(dissection: Dissection, methods: Field, sight: Sight) -> Classes | None:
    """The network's classes, where their names are known: a layer as wide as they are many whose units do not compete
    is taken for the classifier, its units for the classes."""
    labels = dissection.manifest["model"].get("label_names") or []
    embedded = sight.evaluator.texts(labels) if labels else None
    if embedded is None or embedded.isnan().any():
        return None
    about = dissection.manifest["layers"][methods.layer]
    stands = about["units"] == len(labels) and not about.get("competes")
    own = embedded.new_tensor(methods.units).long() if stands else None
    effects = None if sight.effects is None else sight.effects(methods.layer, methods.units)
    known = stands or effects is not None
    return Classes(tuple(labels), embedded, effects, own, sight.sentences) if known else None
