"""Networks against each other on the same images: accuracy, sparsity, cost."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm import tqdm

from competition_layers import StochasticLWTA, competitions, predict
from competition_layers.attribution import Method, contributions, logits_without
from competition_layers.metrics import deciding_units
from competition_layers.names import nearest

from ..folder.dissection import Dissection
from ..probe.passes import batches
from ..probe.probe_images import ProbeImages
from ..recording.subject import architecture, default_layer, default_transform, label_names

TIMED_RUNS = 7


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers by the saved rule, and where units compete also by `argmax`, one draw, n draws."""

    saved: float
    argmax: float | None = None
    sample: float | None = None
    samples: float | None = None


@dataclass(frozen=True)
class Sparsity:
    """How many units of one layer a decision rests on.

    `density` is the share of units that pass: 1/U for a competition, the share above 0 for a ReLU, none for a smooth
    activation. `effective_density` is the mean over images of the share of units that make up 90 % of the absolute
    contributions to the margin. Its check: `kept` is how often the prediction stays when all other units are off, and
    `kept_without_any` when all units of the layer are.
    """

    layer: str
    width: int
    method: Method
    density: float | None
    effective_density: float
    kept: float
    kept_without_any: float


@dataclass(frozen=True)
class Names:
    """How many units of one layer are named, or why not (`Description.outcome`), and how many names there are."""

    layer: str
    outcomes: Mapping[str, int]
    distinct: int

    @property
    def units(self) -> int:
        return sum(self.outcomes.values())

    @property
    def share(self) -> float:
        """Of units that have a name."""
        return self.outcomes["named"] / self.units


@dataclass(frozen=True)
class NetworkFigures:
    """One network of a comparison."""

    name: str
    architecture: str
    competitors: int  # in a group of the compared layer; 1: nothing competes
    rule: str
    accuracy: Accuracy
    sparsity: Sparsity
    parameters: int
    milliseconds: float  # an image: median of `TIMED_RUNS` runs, taken in turns with the other networks
    training_seconds: float | None  # None where it is not known
    names: tuple[Names, ...] = ()  # of each layer of its dissection, where there is one


@dataclass(frozen=True)
class Comparison:
    """Networks in the order given, and what they were compared on."""

    networks: tuple[NetworkFigures, ...]
    data: str
    images: int
    samples: int  # draws behind `Accuracy.samples`
    batch: int  # images in a timed run
    device: str
    names_differ: str = ""  # what the dissections differ in: their counts are then no comparison


def compare(
    models: Mapping[str, nn.Module],
    data: ProbeImages,
    *,
    layer: str | None = None,
    samples: int = 8,
    batch_size: int = 64,
    training_seconds: Mapping[str, float] | None = None,
    dissections: Mapping[str, Dissection] | None = None,
) -> Comparison:
    """The figures of `models` (by name) on the labelled images `data`, each by the same method at the same layer.

    Args:
        layer: where sparsity is measured; by default each network's last site.
        samples: draws that are averaged over; every draw is seeded.
        training_seconds: what training took, by the same names, where it is known.
        dissections: by the same names, where there are any: how many units have a name is counted.

    Raises:
        ValueError: no network, images without labels, or a label that a network does not know (the nearest is offered).
    """
    if not models:
        raise ValueError("Expected at least one network to compare but got none")
    targets = {name: _targets(name, model, data) for name, model in models.items()}
    milliseconds = _milliseconds(models, data, batch_size)
    networks = []
    for name, model in models.items():
        where = layer or default_layer(model.eval(), next(_passes("", model, data, 1)))
        rules = sorted({layer.competition.inference for layer in competitions(model).values()})
        networks.append(
            NetworkFigures(
                name=name,
                architecture=architecture(model),
                competitors=getattr(model.get_submodule(where), "competitors", 1),
                rule=" and ".join(rules) or "nothing competes",
                accuracy=_accuracy(model, _passes(name, model, data, batch_size), targets[name], samples),
                sparsity=_sparsity(model, _passes(name, model, data, batch_size), where),
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                milliseconds=milliseconds[name],
                training_seconds=(training_seconds or {}).get(name),
                names=_names(dissections[name]) if dissections and name in dissections else (),
            )
        )
    return Comparison(
        networks=tuple(networks),
        data=data.source,
        images=len(data),
        samples=samples,
        batch=min(batch_size, len(data)),
        device=_device_name(next(iter(models.values()))),
        names_differ=_different([*(dissections or {}).values()]),
    )


def _names(dissection: Dissection) -> tuple[Names, ...]:
    found = []
    for layer in dissection.layers:
        units = (dissection.description(layer, unit) for unit in range(dissection.units(layer)))
        distinct = len({unit.description for unit in units if unit.named})
        found.append(Names(layer, dissection.outcomes(layer), distinct))
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


def _accuracy(model: nn.Module, passes: Iterator[Tensor], targets: Int[Tensor, "images"], samples: int) -> Accuracy:
    asked = {"saved": None}
    if competitions(model):
        asked |= {"argmax": 0, "sample": 1, "samples": samples}
    right = dict.fromkeys(asked, 0)
    generator, done = torch.Generator().manual_seed(0), 0
    for x in passes:
        here = targets[done : done + len(x)]
        done += len(x)
        for which, draws in asked.items():
            logits = predict(model, x, samples=draws, generator=generator)
            right[which] += int((logits.argmax(1).cpu() == here).sum())
    return Accuracy(**{which: count / done for which, count in right.items()})


def _sparsity(model: nn.Module, passes: Iterator[Tensor], layer: str) -> Sparsity:
    module = model.get_submodule(layer) if layer in dict(model.named_modules()) else None  # `contributions` refuses it
    done, methods = 0, set()
    sums = dict.fromkeys(("density", "effective_density", "kept", "kept_without_any"), 0.0)
    for x in passes:
        found = contributions(model, x, layer)
        deciding = deciding_units(found.to_margin)
        done += len(x)
        methods.add(found.method)
        sums["density"] += float((found.output > 0 if found.won is None else found.won).float().mean()) * len(x)
        sums["effective_density"] += float(deciding.float().mean(1).sum())
        for which, off in (("kept", ~deciding), ("kept_without_any", torch.ones_like(deciding))):
            sums[which] += int((logits_without(model, x, layer, off).argmax(1) == found.predicted).sum())
    means = {which: total / done for which, total in sums.items()}
    if not isinstance(module, StochasticLWTA | nn.ReLU | nn.ReLU6):
        means["density"] = None
    # the weakest method of all batches: what is claimed holds for each of them
    method = max(methods, key=("direct", "direct, layer-norm scale frozen", "gradient x activation").index)
    return Sparsity(layer=layer, width=found.to_margin.shape[1], method=method, **means)


def _milliseconds(models: Mapping[str, nn.Module], data: ProbeImages, batch_size: int) -> dict[str, float]:
    """Milliseconds an image: the networks take turns, so that a slow moment of the machine meets all of them."""
    firsts = {name: next(_passes("", model, data, batch_size)) for name, model in models.items()}
    runs: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TIMED_RUNS + 1):
        for name, model in models.items():
            start = time.perf_counter()
            predict(model, firsts[name]).cpu()  # to the CPU: waits for an accelerator
            runs[name].append((time.perf_counter() - start) * 1000 / len(firsts[name]))
    return {name: median(times[1:]) for name, times in runs.items()}  # the first run warms up


def _passes(name: str, model: nn.Module, data: ProbeImages, batch_size: int) -> Iterator[Tensor]:
    steps = tqdm(total=len(data), desc=f"compare {name}", unit="image", disable=None if name else True, leave=False)
    device = next(model.parameters()).device
    with steps:
        for x in batches(data, default_transform(model), batch_size=batch_size):
            yield x.to(device)
            steps.update(len(x))


def _targets(name: str, model: nn.Module, data: ProbeImages) -> Int[Tensor, "images"]:
    """The class index of every image."""
    if data.labels is None:
        raise ValueError(f"Expected a folder for each class in {data.source!r} but got images without labels")
    labels = label_names(model) or tuple(map(str, range(getattr(getattr(model, "lwta", None), "num_classes", 0))))
    if not labels:
        raise ValueError(
            f"Expected network {name!r} to say the names of its classes but it does not; set label_names on it, in the "
            "order of its outputs"
        )
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    for label in sorted(set(data.labels) - set(labels)):
        raise ValueError(
            f"Expected classes that network {name!r} knows ({shown}) "
            f"but got {label!r} in {data.source!r}{nearest(label, labels)}"
        )
    index = {label: i for i, label in enumerate(labels)}
    return torch.tensor([index[label] for label in data.labels])


def _device_name(model: nn.Module) -> str:
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
