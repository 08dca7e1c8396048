"""The units of a layer that are judged, and what the judge may look at for their labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from competition_layers.groups import group_numbers

from ..explaining.find_units import answers_of
from ..folder.dissection import Dissection
from ..naming.halves import Halves, halve
from .measures import Reads
from .measures.seen import Seen, on

Labels = Sequence[str]  # one a judged unit
Embed = Callable[[Labels], Float[Tensor, "labels dim"]]
Answers = Callable[[str, Iterable[str]], Mapping[str, Float[Tensor, "pictures units"]]]  # of a layer, to made pictures
View = Callable[[Labels], Seen]


@dataclass(frozen=True)
class Evaluator:
    """An encoder that says how much of a label is in an image. `own`: it is the one that gave the names.

    `images` are the unit vectors of the dissection's images, in its order; `texts` embeds labels.
    """

    name: str
    images: Float[Tensor, "images dim"]
    texts: Embed
    own: bool = True


@dataclass(frozen=True)
class Classes:
    """What is known of a network's classes: their names, embedded by the evaluator, and for the judged units the effect
    of each on every class (what its logit loses without the unit), or the class that each unit stands for. `sentences`
    embeds phrases by what knows words alone."""

    labels: tuple[str, ...]
    names: Float[Tensor, "classes dim"]
    effects: Float[Tensor, "classes units"] | None = None
    own: Int[Tensor, "units"] | None = None
    sentences: Embed | None = None


@dataclass(frozen=True)
class Bench:
    """Some units of one layer on the held-out images. `views` hold what can be seen of labels, by `Measure.reads`."""

    layer: str
    units: tuple[int, ...]
    images: int
    views: Mapping[Reads, View]


def bench_of(
    dissection: Dissection,
    layer: str,
    units: Sequence[int],
    evaluator: Evaluator,
    *,
    truth: Mapping[str, Int[Tensor, "images"]] | None = None,
    classes: Classes | None = None,
    drawn: Answers | None = None,
) -> Bench:
    """These units on the images that chose no name: the judging half, near-duplicates counted once.

    Args:
        drawn: what the layer says on pictures made of labels.
        truth: for each phrase, on which probe images it is true (1), false (0), or nobody can say (-1).
    """
    halves = halve(dissection.image_embeddings(), blocks=dissection.manifest.get("blocks"))
    values = halves.judged(answers_of(dissection, layer)[:, list(units)])
    group = groups_of(dissection, layer, units)
    held = halves.judged(evaluator.images)

    def scored(labels: Labels) -> Seen:
        return Seen(values, held @ evaluator.texts(labels).double().T, group)

    def retrieved(labels: Labels) -> Seen:
        return Seen(values, on(scored(labels).concept).double(), group)

    views: dict[Reads, View] = {"score": scored, "pictures": retrieved}
    if truth is not None:
        present = _presence(truth, halves)
        unknown = torch.full((len(values),), torch.nan, dtype=torch.float64)
        views["truth"] = lambda labels: Seen(
            values, torch.stack([present.get(label, unknown) for label in labels], 1), group
        )
    if drawn is not None:
        views["drawn"] = lambda labels: _with_drawn(values, drawn(layer, labels), labels, units)
    if classes is not None:
        views |= _class_views(classes, evaluator.texts)
    return Bench(layer, tuple(units), len(values), views)


def groups_of(dissection: Dissection, layer: str, units: Sequence[int]) -> Int[Tensor, "units"] | None:
    """The number of each unit's group; None where nothing competes, or the dissection does not say how."""
    about = dissection.manifest["layers"][layer]
    competitors, width = about.get("competitors", 1), about["units"]
    if competitors < 2 or width % competitors:
        return None
    return group_numbers(width, competitors, about.get("layout", "strided"))[list(units)]


def _presence(truth: Mapping[str, Int[Tensor, "images"]], halves: Halves) -> dict[str, Float[Tensor, "held"]]:
    """Of every phrase on the held-out images; NaN where it is not known of some image of a block."""
    table = torch.stack(list(truth.values()), 1).double()
    held = halves.judged(table.where(table >= 0, torch.nan))
    return dict(zip(truth, held.unbind(1), strict=True))


def _with_drawn(
    values: Float[Tensor, "held units"], drawn: Mapping[str, Tensor], labels: Labels, units: Sequence[int]
) -> Seen:
    """Below the held-out images, which are no pictures of any label, those made of each unit's own: NaN where it has
    fewer than others, or none."""
    rows = max((len(drawn[label]) for label in labels if label in drawn), default=0)
    said = torch.zeros(rows, len(units), dtype=values.dtype)
    present = torch.full((rows, len(units)), torch.nan, dtype=torch.float64)
    for i, (label, unit) in enumerate(zip(labels, units, strict=True)):
        if label in drawn:
            own = drawn[label][:, unit]
            said[: len(own), i], present[: len(own), i] = own.to(said), 1.0
    absent = torch.zeros(len(values), len(units), dtype=torch.float64)
    unknown = present.isnan().all(0)
    return Seen(torch.cat([values, said]), torch.cat([absent.masked_fill(unknown, torch.nan), present]))


def _class_views(classes: Classes, texts: Embed) -> dict[Reads, View]:
    def alike(labels: Labels) -> Float[Tensor, "classes labels"]:
        return classes.names.double() @ texts(labels).double().T

    views: dict[Reads, View] = {}
    if (effects := classes.effects) is not None:
        views["effect"] = lambda labels: Seen(effects.double(), alike(labels))
    if (own := classes.own) is not None:
        stands_for = torch.nn.functional.one_hot(own, len(classes.names)).T.double()
        views["class"] = lambda labels: Seen(stands_for, alike(labels))
        if (sentences := classes.sentences) is not None:
            said = sentences(classes.labels).double()
            views["sentence"] = lambda labels: Seen(stands_for, said @ sentences(labels).double().T)
    return views
