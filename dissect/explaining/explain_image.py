"""One image explained: who won, what it is called, what it did to the decision, and what happens without it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from competition_layers import competitions, evaluating
from competition_layers.attribution import Contributions, contributions, first_order, logits_without
from competition_layers.metrics import deciding_units
from competition_layers.names import nearest
from pictures.names import readable_name

from ..folder.dissection import Dissection
from ..recording.subject import architecture, competitors_of, default_layer, label_names
from .checks import Checks
from .curves import unit_curves
from .decision_view import decides, decision_view, with_places
from .explanation import EXPLAINS, ClassScore, ExplainedLayer, Explanation, LayerShare, Sum
from .picture import as_seen, network_input
from .places import grid_of, regions_of
from .stability import stability
from .unit_effects import lead_of, passed, switch_off, unit_effects

CLASSES = 5  # shown with their probabilities


@torch.no_grad()
def explain(
    model: nn.Module,
    image: str | Path | Image.Image,
    *,
    dissection: Dissection | None = None,
    layer: str | None = None,
    target: str | int | None = None,
    top: int = 8,
) -> Explanation:
    """What the units of `layer` did to a class's lead for `image`: the `top` ones by their share in it.

    Winners are picked by the rule saved with the model, or by that of a surrounding `inference_rule`; a sampling rule
    meets one draw, the same in every pass.

    Args:
        dissection: gives the units names and exemplars.
        layer: a module of the model, by default the last place where units compete, or could.
        target: the class to explain, by name or index; by default the predicted one.
        top: so many units are shown, and switched off one by one and together, in one batch.

    Raises:
        ValueError: an unknown layer or class (the nearest is offered), or a file that is no readable image.
    """
    if top < 1:
        raise ValueError(f"Expected top >= 1 but got {top}")
    x = network_input(model, image)
    with evaluating(model):
        layer = layer or default_layer(model, x)
        found = contributions(model, x, layer, target=class_index(model, target))
        labels = label_names(model) or tuple(f"class {i}" for i in range(found.logits.shape[1]))
        strength = found.to_margin[0].abs()
        units = strength.topk(min(top, int((strength > 0).sum()))).indices.tolist()
        offs, random_lead = switch_off(model, x, layer, found, units, labels)
        effects = unit_effects(model, x, layer, found, list(zip(units, offs[:-1], strict=True)), dissection)
        view = decision_view(model, x, found, units, labels) if decides(model, layer) else None
        effects = effects if view is None else with_places(effects, view)
        lead = _sum(found.to_margin[0], units, lead_of(found.logits, found)[0], lead_of(found.without, found)[0])
        explains = bool(lead.total) and offs[-1].lead / lead.total >= EXPLAINS
        checks = Checks(unit_curves(model, x, layer, found), stability(model, x, layer, found, units))
        instead = None if explains else _better_layer(model, x, layer, found, top)
    target_logits = (logits[0, found.target[0]].item() for logits in (found.logits, found.without))
    probability = found.logits[0].softmax(0)
    grid = grid_of(model, found)
    return Explanation(
        image=readable_name(str(image)) if isinstance(image, str | Path) else "image",
        picture=as_seen(model, x[0]),
        at=_explained_layer(model, layer, found, decision=view is not None),
        classes=tuple(
            ClassScore(labels[i], float(probability[i]), float(found.logits[0, i]))
            for i in probability.topk(min(CLASSES, len(probability))).indices.tolist()
        ),
        target=labels[int(found.target[0])],
        runner_up=labels[int(found.runner_up[0])],
        logit=_sum(found.to_logit[0], units, *target_logits),
        lead=lead,
        units=effects,
        together=offs[-1],
        random_lead=random_lead,
        passed=int(passed(found).sum()),
        deciding=int(deciding_units(found.to_margin[0]).sum()),
        instead=instead,
        switches=None if view is None else view.switches,
        sufficient=None if view is None else view.sufficient,
        necessary=None if view is None else view.necessary,
        checks=checks,
        regions=None if grid is None or found.won is None else regions_of(found.margin_at[0], units, grid),
    )


def class_index(model: nn.Module, target: str | int | None) -> int | None:
    """The index of a class that was asked for by name (or by a number, where the classes have no such name).

    Raises:
        ValueError: the model has no such class; the nearest is offered.
    """
    if target is None or isinstance(target, int):
        return target
    labels = label_names(model)
    if target in labels:
        return labels.index(target)
    number = target if labels else target.removeprefix("class ")  # as classes without names are called
    if number.isdecimal():
        return int(number)
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    raise ValueError(f"Expected a class of the network ({shown}) but got {target!r}{nearest(target, labels)}")


def _explained_layer(model: nn.Module, layer: str, found: Contributions, *, decision: bool) -> ExplainedLayer:
    rules = sorted({each.competition.inference for each in competitions(model).values()})
    return ExplainedLayer(
        architecture=architecture(model),
        layer=layer,
        width=found.to_logit.shape[1],
        competitors=competitors_of(model.get_submodule(layer)),
        rule=" and ".join(rules) or "nothing competes",
        method=found.method,
        decision=decision,
    )


def _sum(by_unit: Float[Tensor, "units"], units: Sequence[int], total: float, without: float) -> Sum:
    shown, every = float(by_unit[list(units)].sum()), float(by_unit.sum())
    return Sum(total, shown, every - shown, without, missed=total - without - every)


def _better_layer(model: nn.Module, x: Tensor, layer: str, found: Contributions, top: int) -> LayerShare | None:
    """The last of the other competing layers whose `top` strongest units carry half of the lead, by one pass each."""
    others = [name for name in competitions(model) if name != layer]
    if not others or decides(model, layer):
        return None
    estimates = first_order(model, x, others, target=int(found.target[0]))
    lead = lead_of(found.logits, found)[0]
    for name in reversed(others):
        strength = estimates[name].abs()
        off = torch.zeros_like(strength, dtype=torch.bool)
        off.scatter_(1, strength.topk(min(top, strength.shape[1])).indices, True)
        share = (lead - lead_of(logits_without(model, x, name, off), found)[0]) / lead if lead else 0.0
        if share >= EXPLAINS:
            return LayerShare(name, share)
    return None
