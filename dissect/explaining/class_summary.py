"""What decides a class, over many pictures, and which unit each mistake came from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import evaluating
from competition_layers.attribution import Contributions, Method, contributions, logits_without
from competition_layers.names import nearest

from ..folder.dissection import Dissection
from ..recording.subject import default_layer, label_names
from .explanation import UnitName
from .picture import network_input
from .unit_effects import unit_name

BATCH = 32
SPEAKS = 0.1  # of a picture's lead: a unit that adds less does not decide there


@dataclass(frozen=True)
class ClassUnit:
    """A unit, and what it did over the pictures that the network calls by one class."""

    unit: int
    named: UnitName
    to_lead: float  # added to the lead over the runner-up: the mean over these pictures
    pictures: int  # in which it added at least a tenth of the lead

    @property
    def label(self) -> str:
        return self.named.name or f"unit {self.unit}"


@dataclass(frozen=True)
class ClassSummary:
    """One class; means are over the pictures that the network calls by it. lead = units + others + without + missed."""

    label: str
    pictures: int
    right: int | None  # of these; None where it is not known what pictures show
    missed: int | None  # pictures of the class that are called something else
    lead: float
    units: tuple[ClassUnit, ...]
    others: float
    without: float  # with the whole layer off: biases and paths around it
    estimates_miss: float


@dataclass(frozen=True)
class Mistake:
    """A picture that is called something else, and the unit that added most to the wrong class over the right one."""

    image: str
    truth: str
    predicted: str
    lead: float  # of the wrong class over the right one
    unit: int
    named: UnitName
    added: float
    without: str  # what is predicted with that unit off

    @property
    def label(self) -> str:
        return self.named.name or f"unit {self.unit}"


@dataclass(frozen=True)
class ClassReport:
    """What decides each class at one layer, and all mistakes, the most certain first."""

    layer: str
    methods: tuple[Method, ...]  # how contributions were found, in one batch of pictures or another
    pictures: int
    classes: tuple[ClassSummary, ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class _Picture:
    """What one picture leaves behind."""

    file: Path
    truth: str
    predicted: int
    lead: float
    without: float
    to_lead: Float[Tensor, "units"]


@torch.no_grad()
def summarise_classes(
    model: nn.Module,
    files: Sequence[Path],
    truths: Sequence[str],
    *,
    dissection: Dissection | None = None,
    layer: str | None = None,
    top: int = 8,
) -> ClassReport:
    """Explain `files` in batches, and sum up by the class that the network gives them.

    Args:
        truths: the class that each picture shows; "" where that is not known.
        dissection, layer, top: as in `explain`.

    Raises:
        ValueError: no pictures, an unknown layer.
    """
    if not files:
        raise ValueError("Expected pictures but got none")
    with evaluating(model):
        layer = layer or default_layer(model, network_input(model, files[0]))
        labels, seen, methods, mistakes = label_names(model), [], set(), []
        for start in range(0, len(files), BATCH):
            part = slice(start, start + BATCH)
            x = torch.cat([network_input(model, file) for file in files[part]])
            found = contributions(model, x, layer)
            labels = labels or tuple(f"class {i}" for i in range(found.logits.shape[1]))
            methods.add(found.method)
            seen += list(_pictures(files[part], truths[part], found))
            wrong = [i for i, truth in enumerate(truths[part]) if truth and truth != labels[int(found.predicted[i])]]
            mistakes += [_mistake(model, x[i : i + 1], layer, seen[start + i], labels) for i in wrong]
    called = sorted({picture.predicted for picture in seen})
    summaries = [_summary(label, labels, seen, top) for label in called]
    names = {u.unit for summary in summaries for u in summary.units} | {mistake.unit for mistake in mistakes}
    named = {unit: unit_name(model, dissection, layer, unit) for unit in names}
    classes = (replace(s, units=tuple(replace(u, named=named[u.unit]) for u in s.units)) for s in summaries)
    found_out = (replace(mistake, named=named[mistake.unit]) for mistake in mistakes)
    return ClassReport(
        layer,
        tuple(sorted(methods)),
        len(seen),
        tuple(sorted(classes, key=lambda summary: summary.label)),
        tuple(sorted(found_out, key=lambda mistake: -mistake.lead)),
    )


def only_class(report: ClassReport, label: str) -> ClassReport:
    """The report of one class: its summary, and the mistakes that took pictures to it or from it.

    Raises:
        ValueError: no picture is called so, or shows it.
    """
    classes = tuple(summary for summary in report.classes if summary.label == label)
    mistakes = tuple(mistake for mistake in report.mistakes if label in (mistake.truth, mistake.predicted))
    if not classes and not mistakes:
        known = [summary.label for summary in report.classes]
        raise ValueError(
            f"Expected a class that the network gives some of these pictures ({', '.join(known)}) but got {label!r}"
            f"{nearest(label, known)}"
        )
    return replace(report, classes=classes, mistakes=mistakes)


def _pictures(files: Sequence[Path], truths: Sequence[str], found: Contributions) -> Iterator[_Picture]:
    for i, (file, truth) in enumerate(zip(files, truths, strict=True)):
        target, second = found.target[i], found.runner_up[i]
        lead, without = (float(logits[i, target] - logits[i, second]) for logits in (found.logits, found.without))
        yield _Picture(file, truth, int(found.predicted[i]), lead, without, found.to_margin[i])


def _summary(predicted: int, labels: Sequence[str], seen: Sequence[_Picture], top: int) -> ClassSummary:
    label, these = labels[predicted], [picture for picture in seen if picture.predicted == predicted]
    known = all(picture.truth for picture in seen)
    each = torch.stack([picture.to_lead for picture in these])
    leads = each.new_tensor([picture.lead for picture in these])
    mean, speaks = each.mean(0), (each >= SPEAKS * leads[:, None]).sum(0)
    units = mean.abs().topk(min(top, int((mean != 0).sum()))).indices.tolist()
    lead, without = float(leads.mean()), sum(picture.without for picture in these) / len(these)
    shown, every = float(mean[units].sum()), float(mean.sum())
    return ClassSummary(
        label,
        pictures=len(these),
        right=sum(picture.truth == label for picture in these) if known else None,
        missed=sum(p.truth == label and p.predicted != predicted for p in seen) if known else None,
        lead=lead,
        units=tuple(ClassUnit(unit, UnitName(), float(mean[unit]), int(speaks[unit])) for unit in units),
        others=every - shown,
        without=without,
        estimates_miss=lead - without - every,
    )


def _mistake(model: nn.Module, x: Tensor, layer: str, picture: _Picture, labels: Sequence[str]) -> Mistake:
    """The lead of the class that is said over the right one, and the unit that added most to it."""
    truth = labels.index(picture.truth)
    found = contributions(model, x, layer, target=(picture.predicted, truth))
    unit = int(found.to_margin[0].argmax())
    off = torch.zeros_like(found.to_margin, dtype=torch.bool)
    off[0, unit] = True
    instead = int(logits_without(model, x, layer, off)[0].argmax())
    return Mistake(
        image=str(picture.file),
        truth=picture.truth,
        predicted=labels[picture.predicted],
        lead=float(found.logits[0, picture.predicted] - found.logits[0, truth]),
        unit=unit,
        named=UnitName(),
        added=float(found.to_margin[0, unit]),
        without=labels[instead],
    )
