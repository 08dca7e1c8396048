"""All that is known about each unit of a dissection: frozen values, no tensors, for the page of units."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from competition_layers import StochasticLWTA
from competition_layers.decision import SITE, has_decision
from competition_layers.groups import winner_units

from ..comparing.monosemanticity import ms_scores
from ..describers.class_ablation import ClassAblation, ClassLoss
from ..describers.patches import METHOD as PATCHES
from ..folder.dissection import Dissection
from ..naming.description import Description
from ..naming.predictability import prediction_targets
from ..recording.subject import given_name, label_names
from .explanation import Grid
from .unit_effects import exemplar_masks

BINS = 24  # of a histogram
RIVALS = 6  # of a group, listed at most
CLASSES = 3  # that a unit speaks for most, and against most


@dataclass(frozen=True)
class Histogram:
    """How many probe images a unit gave which value; of a competition those that it won."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class UnitEntry:
    """One unit.

    `alike` is the MS score: how alike are the images that it answers to (the mean cosine of two images, weighted by how
    strongly it answers to both). `votes` are the classes that it speaks for and against most, with its weight in the
    logit; () but at a decision layer of a network that is at hand. `losses` are the classes that lose most right
    answers without it; () where `patches` did not look.
    """

    description: Description
    histogram: Histogram | None  # None: it says nothing
    alike: float | None
    rivals: tuple[tuple[int, str], ...] = ()  # others of its group with their names, the surest names first
    group_size: int = 1
    votes: tuple[tuple[str, float], ...] = ()
    losses: tuple[ClassLoss, ...] = ()
    exemplars: bytes = field(default=b"", repr=False)  # a strip of its top probe images, JPEG
    masks: tuple[Grid, ...] = field(default=(), repr=False)  # where it spoke on each of them
    given: str = ""  # the name that a person gave it (`lwta edit`), in the place of the one that was found

    @property
    def name(self) -> str:
        """What to call it; "" where it has no name that holds."""
        return self.given or (self.description.description if self.description.named else "")

    @property
    def anchor(self) -> str:
        """Its place on the page of units."""
        return f"{self.description.layer}/{self.description.unit}"


def unit_entries(dissection: Dissection, model: nn.Module | None = None) -> tuple[UnitEntry, ...]:
    """Every unit of every layer in order; rivals and votes are known where `model` is given."""
    return tuple(entry for layer in dissection.layers for entry in _layer_entries(dissection, layer, model))


def _layer_entries(dissection: Dissection, layer: str, model: nn.Module | None) -> list[UnitEntry]:
    record = dissection.record(layer)
    said = record.unit_values(dissection.summary(layer))
    alike = ms_scores(prediction_targets(said.values, said.won), dissection.image_embeddings().float()).tolist()
    active, count = said.active, dissection.units(layer)
    groups = _groups(model, layer, count)
    votes = _votes(model, layer)
    labels = dissection.manifest["model"].get("label_names") or ()
    ablation = ClassAblation.from_tensors(dissection.kept(layer, PATCHES), units=count, classes=len(labels))
    entries = []
    for unit in range(count):
        values = said.values[active[:, unit], unit]
        strip = dissection.exemplars(layer, unit)
        rivals = [other for other in groups.get(unit, ()) if other != unit]
        entries.append(
            UnitEntry(
                description=dissection.description(layer, unit),
                histogram=_histogram(values),
                alike=alike[unit] if alike[unit] == alike[unit] else None,
                rivals=_surest(dissection, layer, rivals, model),
                group_size=len(rivals) + 1,
                votes=votes[unit] if votes else (),
                losses=tuple(ablation.losses(unit, labels)[:CLASSES]) if ablation else (),
                exemplars=strip.read_bytes() if strip.is_file() else b"",
                masks=exemplar_masks(dissection, layer, unit) if strip.is_file() else (),
                given="" if model is None else given_name(model, layer, unit),
            )
        )
    return entries


def _histogram(values: Float[Tensor, "images"]) -> Histogram | None:
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    counts = torch.histc(values.float(), BINS, low, high) if high > low else torch.tensor([float(len(values))])
    return Histogram(low, high, tuple(map(int, counts.tolist())))


def _groups(model: nn.Module | None, layer: str, width: int) -> dict[int, list[int]]:
    """For each unit all units of its group; nothing where nothing competes, or without the network."""
    module = None if model is None else dict(model.named_modules()).get(layer)
    if not isinstance(module, StochasticLWTA):
        return {}
    competitors, groups = module.groups.competitors, width // module.groups.competitors
    last = replace(module.groups, channel_dim=-1)
    index = torch.arange(competitors, dtype=torch.uint8)[:, None].expand(-1, groups)
    members = winner_units(index, last).T.tolist()
    return {unit: group for group in members for unit in group}


def _votes(model: nn.Module | None, layer: str) -> list[tuple[tuple[str, float], ...]]:
    """For each unit of a decision layer the classes of its largest and of its smallest weights."""
    if model is None or layer != SITE or not has_decision(model):
        return []
    weights: Tensor = model.get_submodule("decision_votes").weight.detach()  # type: ignore[assignment]
    labels = label_names(model) or tuple(f"class {i}" for i in range(len(weights)))
    found = []
    for column in weights.T:
        order = column.argsort(descending=True).tolist()
        wanted = [c for c in order[:CLASSES] if column[c] > 0] + [c for c in order[-CLASSES:] if column[c] < 0]
        found.append(tuple((labels[c], float(column[c])) for c in wanted))
    return found


def _surest(
    dissection: Dissection, layer: str, units: Sequence[int], model: nn.Module | None
) -> tuple[tuple[int, str], ...]:
    """The units of the surest names, best first; then those without a name."""
    known = [dissection.description(layer, unit) for unit in units]
    r = {one.unit: one.evidence.predictability if one.named and one.evidence else -1.0 for one in known}
    surest = sorted(known, key=lambda one: -r[one.unit])[:RIVALS]
    given = {one.unit: "" if model is None else given_name(model, layer, one.unit) for one in surest}
    return tuple((one.unit, given[one.unit] or one.description) for one in surest)
