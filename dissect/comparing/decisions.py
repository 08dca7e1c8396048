"""What the decisions of a network with a decision layer rest on: how few units, what these speak for, their names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from competition_layers import votes
from competition_layers.decision import SITE
from competition_layers.decision_figures import (
    classes_served,
    necessary_units,
    predicted_and_rival,
    sufficient_units,
    tautology,
)
from competition_layers.metrics import deciding_units

from ..folder.dissection import Dissection
from ..naming.synonyms import NEAR_SYNONYM, plain_form
from .figures import Decision, DecisionNames


@dataclass(frozen=True)
class UnitNames:
    """What the units of a decision layer are called, in plain forms; "" has no name."""

    names: tuple[str, ...]
    same: Bool[Tensor, "units classes"]  # the name is the class, or a near-synonym of it

    @property
    def named(self) -> Bool[Tensor, "units"]:
        return torch.tensor([bool(name) for name in self.names])


def measure_decision(
    model: nn.Module,
    passes: Iterable[Float[Tensor, "images channels height width"]],
    names: UnitNames | None = None,
) -> Decision:
    """The figures of the decision layer of `model`, with those of its names where these are known."""
    counts: dict[str, list[Tensor]] = {name: [] for name in ("lead", "sufficient", "necessary", "same", "named")}
    distinct: list[int] = []
    wins: Tensor | float = 0.0
    values: Tensor | float = 0.0
    weights = torch.empty(0)
    for x in passes:
        found = votes(model, x)
        weights = found.weights
        deciding = deciding_units(found.by_unit(found.to_lead(*predicted_and_rival(found))))
        counts["lead"].append(deciding.sum(1))
        counts["sufficient"].append(sufficient_units(found))
        counts["necessary"].append(necessary_units(found))
        wins = wins + found.by_unit((found.values != 0).float()).sum(0)
        values = values + found.by_unit(found.values).sum(0)
        if names is not None:
            named, same = names.named.to(weights.device), names.same.to(weights.device)
            counts["same"].append(tautology(found, same))
            counts["named"].append((deciding & named).sum(1) / deciding.sum(1).clamp_min(1))
            distinct += [len({names.names[unit] for unit in row.nonzero()[:, 0].tolist()}) for row in deciding & named]
    wins, values = torch.as_tensor(wins), torch.as_tensor(values)
    together = {name: torch.cat(each).float().cpu() for name, each in counts.items() if each}
    return Decision(
        units=weights.shape[1],
        units_for_lead=float(together["lead"].median()),
        sufficient=float(together["sufficient"].median()),
        necessary=float(together["necessary"].median()),
        classes_served=float(classes_served(values / wins, weights).nanmedian()),
        dead=float((wins == 0).float().mean()),
        names=DecisionNames(
            named=float(together["named"].mean()),
            distinct=float(torch.tensor(distinct).float().mean()),
            tautology=float(together["same"].mean()),
        )
        if names is not None
        else None,
    )


def named_decisions(dissection: Dissection | None, classes: Sequence[str]) -> UnitNames | None:
    """The names that a dissection gave the units of a decision layer; None where it describes none."""
    if dissection is None or SITE not in dissection.layers:
        return None
    return unit_names(
        [dissection.description(SITE, unit).description for unit in range(dissection.units(SITE))], dissection, classes
    )


def unit_names(names: Sequence[str], dissection: Dissection, classes: Sequence[str]) -> UnitNames:
    """Names out of the concepts of `dissection`, beside the classes."""
    plain = [plain_form(name) for name in names]
    rows = {plain_form(name): i for i, name in enumerate(dissection.manifest["concepts"]["names"])}
    embeddings = dissection.concept_embeddings().float()
    same = torch.zeros(len(names), len(classes), dtype=torch.bool)
    for c, label in enumerate(classes):
        forms = {plain_form(part) for part in label.split(",")}
        near = [embeddings[rows[form]] for form in forms if form in rows]
        for unit, name in enumerate(plain):
            close = any(float(embeddings[rows[name]] @ row) > NEAR_SYNONYM for row in near) if name in rows else False
            same[unit, c] = bool(name) and (name in forms or close)
    return UnitNames(tuple(plain), same)
