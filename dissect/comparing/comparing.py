"""Networks against each other on the same images: accuracy, sparsity, cost, names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor, nn

from competition_layers.attribution import check_layer
from competition_layers.decision import has_decision

from ..folder.dissection import Dissection
from ..probe.probe_images import ProbeImages
from ..recording.subject import architecture, competitors_of, default_layer, label_names, winners_rule
from .calibration import measure_calibration
from .decisions import measure_decision, named_decisions
from .figures import Comparison, Names, NetworkFigures
from .findings import PerPicture, paired_findings
from .measuring import (
    device_name,
    inputs_of,
    measure_answers,
    measure_memory,
    measure_milliseconds,
    measure_sparsity,
)
from .monosemanticity import measure_alike
from .robustness import measure_robustness
from .seeds import kinds_of, seed_figures, seed_findings
from .untrained_names import Untrained


@dataclass(frozen=True)
class Compared:
    """A network, and what is known of it beside: seconds of training, a dissection whose names are counted.

    With `probe`, the dissection's pictures, the network with random weights is named as well: the control.
    """

    model: nn.Module
    training_seconds: float | None = None
    dissection: Dissection | None = None
    probe: ProbeImages | None = None


@dataclass(frozen=True)
class Extras:
    """What a comparison does only where it is asked for.

    Args:
        robustness: also corrupted pictures and an attack, on up to 500 pictures: some 100 passes over them.
        seeds: networks whose names differ in their last number alone are seeds of one kind.
    """

    robustness: bool = False
    seeds: bool = False


@dataclass(frozen=True)
class _How:
    """How one network is measured."""

    layer: str
    samples: int
    batch_size: int
    robustness: bool
    milliseconds: float


def compare(
    networks: Mapping[str, nn.Module | Compared],
    data: ProbeImages,
    *,
    layer: str | None = None,
    samples: int = 8,
    batch_size: int = 64,
    extras: Extras = Extras(),
) -> Comparison:
    """The figures of `networks` (by name) on the labelled images `data`, each by the same method at the same layer.

    Where layers or methods differ all the same, `Comparison.remarks` says so; `Comparison.findings` says what is ahead,
    paired over pictures, or over seeds.

    Args:
        layer: where sparsity is measured; by default each network's last site.
        samples: draws that are averaged over; every draw is seeded.
        batch_size: images a step, and in each timed run.
        extras: what takes long, or holds for seeds alone.

    Raises:
        ValueError: no network, an unknown layer, images without labels, or a label that a network does not know (the
            nearest is offered); with `seeds` a name that does not end in a number.
    """
    if not networks:
        raise ValueError("Expected at least one network to compare but got none")
    known = {name: each if isinstance(each, Compared) else Compared(each) for name, each in networks.items()}
    models = {name: each.model.eval() for name, each in known.items()}
    if extras.seeds:
        kinds_of(models)
    targets = {name: class_indices(name, model, data) for name, model in models.items()}
    layers = {name: layer or default_layer(model, next(inputs_of(model, data, 1))) for name, model in models.items()}
    for name, model in models.items():
        check_layer(model, layers[name])
    milliseconds = measure_milliseconds(models, data, batch_size)
    figures, pictures = [], {}
    for name, each in known.items():
        how = _How(layers[name], samples, batch_size, extras.robustness, milliseconds[name])
        one, pictures[name] = _figures_of(name, each, data, targets[name], how)
        figures.append(one)
    return Comparison(
        networks=tuple(figures),
        data=data.source,
        images=len(data),
        samples=samples,
        batch=min(batch_size, len(data)),
        device=device_name(next(iter(models.values()))),
        names_differ=_different([each.dissection for each in known.values() if each.dissection is not None]),
        findings=seed_findings(figures) if extras.seeds else paired_findings(pictures),
        seeds=seed_figures(figures) if extras.seeds else (),
    )


def _figures_of(
    name: str, each: Compared, data: ProbeImages, targets: Int[Tensor, "images"], how: _How
) -> tuple[NetworkFigures, PerPicture]:
    """One network's figures, and what it did on each picture."""
    model, shown_as, batch_size, layer = each.model, f"compare {name}", how.batch_size, how.layer
    passes = inputs_of(model, data, batch_size, shown_as=shown_as)
    accuracy, logits = measure_answers(model, passes, targets, how.samples)
    sparsity, units = measure_sparsity(model, data, batch_size, layer, shown_as=shown_as)
    figures = NetworkFigures(
        name=name,
        architecture=architecture(model),
        competitors=competitors_of(model.get_submodule(layer)),
        rule=winners_rule(model),
        accuracy=accuracy,
        calibration=measure_calibration(logits, targets),
        sparsity=sparsity,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        milliseconds=how.milliseconds,
        peak_bytes=measure_memory(model, data, batch_size),
        training_seconds=each.training_seconds,
        names=() if each.dissection is None else _names_of(each, each.dissection, data, batch_size),
        decision=measure_decision(
            model,
            inputs_of(model, data, batch_size, shown_as=shown_as),
            named_decisions(each.dissection, label_names(model)),
        )
        if has_decision(model)
        else None,
        robustness=measure_robustness(model, data, targets, batch_size=batch_size, draws=how.samples)
        if how.robustness
        else None,
    )
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    confidence, said = logits.softmax(1).max(1)
    return figures, PerPicture(said == targets, nll, confidence, units, layer)


def _names_of(each: Compared, dissection: Dissection, data: ProbeImages, batch_size: int) -> tuple[Names, ...]:
    """The counts of names, beside those of the network with random weights where the pictures are given."""
    names = count_names(dissection)
    if each.probe is None:
        return names
    twin = Untrained(each.model, dissection, each.probe)
    return tuple(replace(one, untrained=twin.names(one.layer, data, batch_size)) for one in names)


def class_indices(name: str, model: nn.Module, data: ProbeImages) -> Int[Tensor, "images"]:
    """The index of every image's class among the classes of the network called `name`.

    Raises:
        ValueError: images without labels, or classes that the network does not know.
    """
    labels = label_names(model) or tuple(map(str, range(getattr(getattr(model, "lwta", None), "num_classes", 0))))
    if not labels:
        raise ValueError(
            f"Expected network {name!r} to say the names of its classes but it does not; set label_names on it, in the "
            "order of its outputs"
        )
    return torch.tensor(data.numbers(labels, whose=f"network {name!r}"))


def count_names(dissection: Dissection) -> tuple[Names, ...]:
    """Of each layer how many units have a name, why the others have none, and how many names there are."""
    found = []
    for layer in dissection.layers:
        units = (dissection.description(layer, unit) for unit in range(dissection.units(layer)))
        distinct = len({unit.description for unit in units if unit.named})
        found.append(Names(layer, dissection.outcomes(layer), distinct, measure_alike(dissection, layer)))
    return tuple(found)


def _different(dissections: Sequence[Dissection]) -> str:
    """In what that decides about names the dissections differ: in words, nothing where they are alike."""
    parts = {
        "probe images": lambda made: made["probe"]["fingerprint"],
        "concepts": lambda made: made["concepts"]["fingerprint"],
        "encoder": lambda made: made["encoder"],
        "similarity": lambda made: made["options"]["similarity"],
    }
    return ", ".join(name for name, part in parts.items() if len({part(d.manifest) for d in dissections}) > 1)
