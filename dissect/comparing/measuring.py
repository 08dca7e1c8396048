"""One network on many labelled images, batch by batch: accuracy, sparsity; and the time of several, in turns."""

import time
from collections.abc import Iterable, Iterator, Mapping
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from competition_layers import StochasticLWTA, competitions, predict, predict_each
from competition_layers.attribution import METHODS, contributions, logits_without
from competition_layers.metrics import deciding_units, effective_density
from competition_layers.twins import TwinActivation

from ..probe.passes import Transform, shared_batches
from ..probe.probe_images import ProbeImages
from ..recording.subject import default_transform
from .figures import Accuracy, Sparsity
from .memory import peak_bytes
from .untrained import untrained_twin

TIMED_RUNS = 7
UNTRAINED_IMAGES = 128  # evenly spread: enough for the mean of a density

Batch = Float[Tensor, "images channels height width"]


def inputs_of(
    model: nn.Module,
    data: ProbeImages,
    batch_size: int,
    *,
    limit: int | None = None,
    shown_as: str = "",
    transform: Transform | None = None,
) -> Iterator[Batch]:
    """The network's inputs, batch by batch, of `limit` evenly spread images; a bar shows progress under a name.

    Args:
        transform: from a picture to an input; by default the network's own.
    """
    chosen = range(0, len(data), max(1, len(data) // (limit or len(data))))[:limit]
    runs = [chosen[at : at + batch_size] for at in range(0, len(chosen), batch_size)]
    device = next(model.parameters()).device
    with tqdm(total=len(chosen), desc=shown_as, unit="image", disable=None if shown_as else True, leave=False) as steps:
        for _, (x,) in shared_batches(data, [transform or default_transform(model)], runs):
            yield x.to(device)
            steps.update(len(x))


def measure_answers(
    model: nn.Module, passes: Iterable[Batch], targets: Int[Tensor, "images"], samples: int
) -> tuple[Accuracy, Float[Tensor, "images classes"]]:
    """The share of right answers by each rule, and the logits by the saved one (on the CPU); every draw is seeded."""
    asked: dict[str, int | None] = {"saved": None}
    if competitions(model):
        asked |= {"argmax": 0, "sample": 1, "samples": samples}
    right = dict.fromkeys(asked, 0)
    generator, done = torch.Generator().manual_seed(0), 0
    saved: list[Tensor] = []
    for x in passes:
        here = targets[done : done + len(x)]
        done += len(x)
        for which, logits in zip(asked, predict_each(model, x, [*asked.values()], generator=generator), strict=True):
            right[which] += int((logits.argmax(1).cpu() == here).sum())
            if which == "saved":
                saved.append(logits.float().cpu())
    return Accuracy(**{which: count / done for which, count in right.items()}), torch.cat(saved)


def measure_sparsity(
    model: nn.Module, data: ProbeImages, batch_size: int, layer: str, *, shown_as: str
) -> tuple[Sparsity, Float[Tensor, "images"]]:
    """Density and effective density of `layer` over all images, its checks, and what random weights give.

    Returns:
        Them, and the effective density of each image (on the CPU).
    """
    done, methods, shares = 0, set(), []
    sums = dict.fromkeys(("density", "kept", "kept_without_any"), 0.0)
    for x in inputs_of(model, data, batch_size, shown_as=shown_as):
        found = contributions(model, x, layer)
        deciding = deciding_units(found.to_margin)
        done += len(x)
        methods.add(found.method)
        sums["density"] += float((found.output != 0 if found.won is None else found.won).float().mean()) * len(x)
        shares.append(deciding.float().mean(1).cpu())
        kept = logits_without(model, x, layer, ~deciding).argmax(1)
        sums["kept"] += int((kept == found.predicted).sum())
        sums["kept_without_any"] += int((found.without.argmax(1) == found.predicted).sum())
    means: dict[str, float] = {which: total / done for which, total in sums.items()}
    each = torch.cat(shares)
    sparsity = Sparsity(
        layer=layer,
        width=found.to_margin.shape[1],
        # the weakest method of all batches: what is claimed holds for each of them
        method=max(methods, key=list(METHODS).index),
        density=means["density"] if _says_zero(model.get_submodule(layer)) else None,
        effective_density=float(each.double().mean()),
        untrained=_untrained_density(model, data, batch_size, layer),
        kept=means["kept"],
        kept_without_any=means["kept_without_any"],
    )
    return sparsity, each


def measure_milliseconds(models: Mapping[str, nn.Module], data: ProbeImages, batch_size: int) -> dict[str, float]:
    """Milliseconds an image: the networks take turns, so that a slow moment of the machine meets all of them."""
    firsts = {name: next(inputs_of(model, data, batch_size)) for name, model in models.items()}
    runs: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TIMED_RUNS + 1):
        for name, model in models.items():
            start = time.perf_counter()
            predict(model, firsts[name]).cpu()  # to the CPU: waits for an accelerator
            runs[name].append((time.perf_counter() - start) * 1000 / len(firsts[name]))
    return {name: median(times[1:]) for name, times in runs.items()}  # the first run warms up


def measure_memory(model: nn.Module, data: ProbeImages, batch_size: int) -> int:
    """The most bytes that the tensors of one pass over the first `batch_size` images held at once."""
    x = next(inputs_of(model, data, batch_size))
    return peak_bytes(lambda: predict(model, x), x.device)


def _says_zero(module: nn.Module) -> bool:
    """Whether an activation has units that are off: of a smooth one a density means nothing."""
    smooth = isinstance(module, TwinActivation) and module.competition.activation == "gelu"
    return isinstance(module, StochasticLWTA | TwinActivation | nn.ReLU | nn.ReLU6) and not smooth


def device_name(model: nn.Module) -> str:
    """Where a network computes, for people."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"


def _untrained_density(model: nn.Module, data: ProbeImages, batch_size: int, layer: str) -> float:
    twin = untrained_twin(model)
    shares = [
        effective_density(contributions(twin, x, layer).to_margin)
        for x in inputs_of(model, data, batch_size, limit=UNTRAINED_IMAGES)
    ]
    return float(torch.cat(shares).mean())
