"""Networks that are seeds of one another: means with intervals over seeds, and what is ahead, paired over them."""

import math
import re
from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from .figures import NetworkFigures, SeedFigures
from .findings import sentence

# 97.5 % points of Student's t for 1 .. 20 degrees of freedom; beyond, the normal's serves
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
      2.120, 2.110, 2.101, 2.093, 2.086)  # fmt: skip


def kinds_of(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Names that differ in their last number alone are seeds of one kind: kind, that number, name.

    >>> kinds_of(["sparse-0", "sparse-1", "dense_seed1"])
    {'sparse': {'0': 'sparse-0', '1': 'sparse-1'}, 'dense': {'1': 'dense_seed1'}}

    Raises:
        ValueError: a name without a number at its end.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        parts = re.fullmatch(r"(.*?)[-_. ]*(?:seed)?[-_ ]?(\d+)", name)
        if parts is None:
            raise ValueError(
                f"Expected names that end in the number of a seed (sparse-0, sparse-1, dense-0) but got {name!r}"
            )
        found.setdefault(parts[1] or name, {})[parts[2]] = name
    return found


def seed_figures(networks: Sequence[NetworkFigures]) -> tuple[SeedFigures, ...]:
    """Means over the seeds of each kind, with half of their 95 % interval (Student's t)."""
    of = {network.name: _figures(network) for network in networks}
    rows = []
    for kind, seeds in kinds_of(of).items():
        runs = [of[name] for name in seeds.values()]
        shared = [figure for figure in runs[0] if all(figure in run for run in runs)]
        means = {figure: _with_interval([run[figure] for run in runs]) for figure in shared}
        rows.append(SeedFigures(kind, len(runs), means))
    return tuple(rows)


# what is said of a figure, and what its difference is times: below 0 where the smaller is ahead
_SAID = {
    "accuracy": ("points of accuracy", 100),
    "log-loss": ("of log-loss", -1),
    "calibration error": ("points of calibration error", -100),
    "the same, scaled": ("points of calibration error after temperature scaling", -100),
    "accuracy, corrupted": ("points of accuracy on corrupted pictures", 100),
    "accuracy, attacked": ("points of accuracy under attack", 100),
    "units for 90 % of the lead": ("points of the units that make 90 % of the lead", -100),
    "enough alone": ("units that are enough alone", -1),
    "named": ("points of the units with a name", 100),
    "likeness": ("of likeness (MS score)", 1),
}


def seed_findings(networks: Sequence[NetworkFigures]) -> tuple[str, ...]:
    """Each kind of network against the first: a sentence a figure, paired where both have the seed."""
    of = {network.name: _figures(network) for network in networks}
    said_of = dict(_SAID)
    if len({network.sparsity.layer for network in networks}) > 1:  # other units at other layers
        for figure in ("units for 90 % of the lead", "named", "likeness"):
            del said_of[figure]
    (first, base), *others = kinds_of(of).items()
    said = []
    for kind, seeds in others:
        pairs = [(of[seeds[s]], of[base[s]]) for s in seeds if s in base]
        if len(pairs) < 2:
            said.append(f"{kind} and {first} share {len(pairs)} seeds: too few to say which is ahead.")
            continue
        for figure, (what, times) in said_of.items():
            if all(figure in one and figure in other for one, other in pairs):
                middle, half = _with_interval([times * (one[figure] - other[figure]) for one, other in pairs])
                ends = (middle, middle - (half or 0), middle + (half or 0))
                said.append(sentence((kind, first), what, ends, f"paired over {len(pairs)} seeds"))
    return tuple(said)


def _figures(network: NetworkFigures) -> dict[str, float]:
    """What is averaged over seeds, by its heading."""
    calibration, robustness = network.calibration, network.robustness
    found = {"accuracy": network.accuracy.saved, "units for 90 % of the lead": network.sparsity.effective_density}
    if calibration is not None:
        found["log-loss"] = calibration.nll
        found["calibration error"] = calibration.error
        found["the same, scaled"] = calibration.error_scaled
    if robustness is not None:
        found["accuracy, corrupted"] = robustness.mean_corrupted
        if robustness.attack is not None:
            found["accuracy, attacked"] = robustness.attack.argmax
    if network.decision is not None:
        found["enough alone"], found["change it"] = network.decision.sufficient, network.decision.necessary
    if network.names:
        found["named"] = sum(names.outcomes["named"] for names in network.names) / sum(n.units for n in network.names)
        alike = [names.alike.median for names in network.names if names.alike and names.alike.median is not None]
        if alike:
            found["likeness"] = mean(alike)
        untrained = [names.untrained for names in network.names if names.untrained]
        if len(untrained) == len(network.names):
            found["named, random weights"] = sum(one.named for one in untrained) / sum(n.units for n in network.names)
            chance = [one.alike for one in untrained if one.alike is not None]
            if chance:
                found["likeness, random weights"] = mean(chance)
    return found


def _with_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and half of its 95 % interval; none for one value."""
    if len(values) < 2:
        return mean(values), None
    t = _T[len(values) - 2] if len(values) - 2 < len(_T) else 1.96
    return mean(values), t * stdev(values) / math.sqrt(len(values))
