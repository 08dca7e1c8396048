"""Images explained: who won, what it is called, what it did to the decision, and what happens without it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from competition_layers import competitions, evaluating, fixed_noise
from competition_layers.attribution import (
    Contributions,
    Ends,
    contributions,
    explained_classes,
    first_order,
    logits_without,
)
from competition_layers.inference import logits_of
from competition_layers.metrics import deciding_units
from competition_layers.names import nearest
from pictures.names import readable_name

from ..folder.dissection import Dissection
from ..recording.subject import architecture, competitors_of, default_layer, label_names, winners_rule
from .checks import Checks
from .curves import unit_curves
from .decision_view import DecisionView, decides, decision_views, with_places
from .explanation import EXPLAINS, ClassScore, ExplainedLayer, Explanation, LayerShare, Sum, UnitEffect
from .picture import as_seen, network_input
from .places import grid_of, regions_of
from .stability import stability
from .unit_effects import SwitchedOff, lead_of, passed, second_units, switch_off, unit_effects

Target = str | int | tuple[str | int, str | int] | None
CLASSES = 5  # shown with their probabilities
MOST = 32  # images in a batch
VALUES = 2**20  # of their inputs: 6 images of 224 pixels, each of which is changed in 8 ways for a pass


def explain(
    model: nn.Module,
    image: str | Path | Image.Image,
    *,
    dissection: Dissection | None = None,
    layer: str | None = None,
    target: Target = None,
    top: int = 8,
) -> Explanation:
    """What the units of `layer` did to a class's lead for `image`: the `top` ones by their share in it.

    Winners are picked by the rule saved with the model, or by that of a surrounding `inference_rule`; a sampling rule
    meets one draw, the same in every pass.

    Args:
        dissection: gives the units names and exemplars.
        layer: a module of the model, by default the last place where units compete, or could.
        target: the class to explain, by name or index, or a pair, for the lead of the first over the second; by default
            the predicted one.
        top: so many units are shown, and switched off one by one and together, in one batch.

    Raises:
        ValueError: an unknown layer or class (the nearest is offered), or a file that is no readable image.
    """
    (found,) = explain_many(model, [image], dissection=dissection, layer=layer, target=target, top=top)
    return found


def explain_many(
    model: nn.Module,
    images: Iterable[str | Path | Image.Image],
    *,
    dissection: Dissection | None = None,
    layer: str | None = None,
    target: Target = None,
    top: int = 8,
) -> Iterator[Explanation]:
    """`explain` for many images, in their order, read and run in batches: the same figures in less time.

    The method, whether contributions are exact, is one that holds for all images of a batch.
    """
    if top < 1:
        raise ValueError(f"Expected top >= 1 but got {top}")
    ends = classes_of(model, target)
    with evaluating(model):
        for batch in _batches(model, images):
            x = torch.cat([one for _, one in batch])
            layer = layer or default_layer(model, x[:1])
            for (image, _), found in zip(
                batch, _explained(model, x, _Asked(layer, ends, top, dissection)), strict=True
            ):
                name = readable_name(str(image)) if isinstance(image, str | Path) else "image"
                yield replace(found, image=name)


@dataclass(frozen=True)
class _Asked:
    """What is asked about each image."""

    layer: str
    target: Ends
    top: int
    dissection: Dissection | None


def _batches(model: nn.Module, images: Iterable[Any]) -> Iterator[list[tuple[Any, Tensor]]]:
    """Images with their inputs, of one shape, as many as fit in a pass over all their changed versions."""
    batch: list[tuple[Any, Tensor]] = []
    for image in images:
        x = network_input(model, image)
        if batch and (x.shape != batch[0][1].shape or len(batch) >= min(MOST, max(1, VALUES // x.numel()))):
            yield batch
            batch = []
        batch.append((image, x))
    if batch:
        yield batch


@torch.no_grad()
def _explained(model: nn.Module, x: Tensor, asked: _Asked) -> list[Explanation]:
    """The explanations of a batch, without names of images."""
    layer, names = asked.layer, label_names(model)
    found = contributions(model, x, layer, target=asked.target)
    labels = names or tuple(f"class {i}" for i in range(found.logits.shape[1]))
    strength = found.to_margin.abs()
    units = [row.topk(min(asked.top, int((row > 0).sum()))).indices.tolist() for row in strength]
    off = switch_off(model, x, layer, found, units, labels)
    rivals = second_units(model, x, layer, found)
    views = decision_views(model, x, found, units, labels) if decides(model, layer) else [None] * len(x)
    curves, stable = unit_curves(model, x, layer, found), stability(model, x, layer, found, units)
    checks = [Checks(*both) for both in zip(curves, stable, strict=True)]
    explanations = []
    for i in range(len(x)):
        effects = unit_effects(
            model,
            layer,
            found.of(i),
            None if rivals is None else rivals[i],
            list(zip(units[i], off[i].alone, strict=True)),
            asked.dissection,
        )
        parts = _Parts(found.of(i), labels, effects, off[i], views[i], checks[i])
        explanations.append(_explanation(model, x[i], layer, parts))
    little = [i for i, one in enumerate(explanations) if not one.explains]
    for i, instead in zip(little, _better_layers(model, x[little], asked), strict=True):
        explanations[i] = replace(explanations[i], instead=instead)
    return explanations


@dataclass(frozen=True)
class _Parts:
    """What was found out about one image."""

    found: Contributions
    labels: Sequence[str]
    effects: tuple[UnitEffect, ...]
    off: SwitchedOff
    view: DecisionView | None
    checks: Checks


def _explanation(model: nn.Module, x: Tensor, layer: str, parts: _Parts) -> Explanation:
    found, labels, view = parts.found, parts.labels, parts.view
    effects = parts.effects if view is None else with_places(parts.effects, view)
    units = [effect.unit for effect in effects]
    target_logits = (logits[0, found.target[0]].item() for logits in (found.logits, found.without))
    leads = (lead_of(logits, found)[0] for logits in (found.logits, found.without))
    probability = found.logits[0].softmax(0)
    grid = grid_of(model, found)
    return Explanation(
        image="",
        picture=as_seen(model, x),
        at=_explained_layer(model, layer, found, decision=view is not None),
        classes=tuple(
            ClassScore(labels[i], float(probability[i]), float(found.logits[0, i]))
            for i in probability.topk(min(CLASSES, len(probability))).indices.tolist()
        ),
        target=labels[int(found.target[0])],
        runner_up=labels[int(found.runner_up[0])],
        logit=_sum(found.to_logit[0], units, *target_logits),
        lead=_sum(found.to_margin[0], units, *leads),
        units=effects,
        together=parts.off.together,
        random_lead=parts.off.random_lead,
        passed=int(passed(found).sum()),
        deciding=int(deciding_units(found.to_margin[0]).sum()),
        switches=None if view is None else view.switches,
        sufficient=None if view is None else view.sufficient,
        necessary=None if view is None else view.necessary,
        checks=parts.checks,
        regions=None if grid is None or found.won is None else regions_of(found.margin_at[0], units, grid),
    )


def classes_of(model: nn.Module, target: Target) -> Ends:
    """The index of a class that was asked for, or of a pair of them; see `class_index`."""
    if isinstance(target, tuple):
        return class_index(model, target[0]), class_index(model, target[1])
    return None if target is None else class_index(model, target)


def class_index(model: nn.Module, target: str | int) -> int:
    """The index of a class that was asked for by name (or by a number, where the classes have no such name).

    Raises:
        ValueError: the model has no such class; the nearest is offered.
    """
    if isinstance(target, int):
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
    return ExplainedLayer(
        architecture=architecture(model),
        layer=layer,
        width=found.to_logit.shape[1],
        competitors=competitors_of(model.get_submodule(layer)),
        rule=winners_rule(model),
        method=found.method,
        decision=decision,
    )


def _sum(by_unit: Float[Tensor, "units"], units: Sequence[int], total: float, without: float) -> Sum:
    shown, every = float(by_unit[list(units)].sum()), float(by_unit.sum())
    return Sum(total, shown, every - shown, without, missed=total - without - every)


def _better_layers(model: nn.Module, x: Tensor, asked: _Asked) -> list[LayerShare | None]:
    """For each image the last other competing layer whose strongest units carry half of the lead, by one pass each."""
    others = [name for name in competitions(model) if name != asked.layer]
    best: list[LayerShare | None] = [None] * len(x)
    if not len(x) or not others or decides(model, asked.layer):
        return best
    with fixed_noise(model):
        logits = logits_of(model, x)
    ends = explained_classes(logits, asked.target)
    estimates = first_order(model, x, others, target=asked.target)
    for name in reversed(others):
        open_yet = [i for i, layer in enumerate(best) if layer is None]
        if not open_yet:
            break
        strength = estimates[name][open_yet].abs()
        off = torch.zeros_like(strength, dtype=torch.bool)
        off.scatter_(1, strength.topk(min(asked.top, strength.shape[1])).indices, True)
        for i, left in zip(open_yet, logits_without(model, x[open_yet], name, off), strict=True):
            lead, then = (float(each[ends[0][i]] - each[ends[1][i]]) for each in (logits[i], left))
            share = (lead - then) / lead if lead else 0.0
            best[i] = LayerShare(name, share) if share >= EXPLAINS else None
    return best
