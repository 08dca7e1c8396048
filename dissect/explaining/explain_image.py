"""One image explained: who won, what it is called, what it did to the decision, and what happens without it."""

import io
from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn

from competition_layers import StochasticLWTA, competitions, data_config, inference_rule
from competition_layers.attribution import Contributions, contributions, logits_without
from competition_layers.competition import Rule
from competition_layers.metrics import deciding_units
from pictures.decoding import read_rgb, to_rgb, why_unreadable

from ..folder.dissection import Dissection
from ..recording.subject import architecture, class_tokens, default_layer, default_transform, label_names
from .explanation import ClassScore, Explanation, Grid, SwitchOff, UnitEffect

CLASSES = 5  # shown with their probabilities


@torch.no_grad()
def explain(
    model: nn.Module,
    image: str | Path | Image.Image,
    *,
    layer: str | None = None,
    dissection: Dissection | None = None,
    top: int = 8,
    rule: Rule | None = None,
) -> Explanation:
    """What the units of `layer` did to the prediction for `image`: the `top` ones by their share in the margin.

    Args:
        layer: a module of the model, by default the last place where units compete, or could.
        dissection: gives the units names and exemplars.
        top: so many units are shown, and switched off one by one and together, in one batch.
        rule: `argmax`, or `sample` (one draw, the same in every pass); by default the rule saved with the model.

    Raises:
        ValueError: an unknown layer (the nearest is offered), or a file that is no readable image.
    """
    if top < 1:
        raise ValueError(f"Expected top >= 1 but got {top}")
    was_training = model.training
    x = network_input(model.eval(), image)
    try:
        layer = layer or default_layer(model, x)
        with inference_rule(model, rule):
            found = contributions(model, x, layer)
            labels = label_names(model) or tuple(f"class {i}" for i in range(found.logits.shape[1]))
            strength = found.to_margin[0].abs()
            units = strength.topk(min(top, int((strength > 0).sum()))).indices.tolist()
            offs = _switch_off(model, x, layer, found, units, labels)
            rules = sorted({layer.competition.inference for layer in competitions(model).values()})
    finally:
        model.train(was_training)
    module = model.get_submodule(layer)
    grid = _grid(model, found)
    effects = tuple(
        _effect(module, found, unit, off, grid, **_described(dissection, layer, unit))
        for unit, off in zip(units, offs, strict=False)
    )
    probability = found.logits[0].softmax(0)
    sums = [
        (logit, sum(effect_of(effect) for effect in effects), float(all_units[0].sum()))
        for logit, all_units, effect_of in (
            (float(found.logits[0, found.predicted[0]]), found.to_logit, lambda effect: effect.to_logit),
            (_margin(found.logits, found)[0], found.to_margin, lambda effect: effect.to_margin),
        )
    ]
    return Explanation(
        image=str(image) if isinstance(image, str | Path) else "image",
        picture=_png(_seen(model, x[0])),
        architecture=architecture(model),
        competitors=getattr(module, "competitors", 1),
        rule=" and ".join(rules) or "nothing competes",
        layer=layer,
        method=found.method,
        classes=tuple(
            ClassScore(labels[i], float(probability[i]), float(found.logits[0, i]))
            for i in probability.topk(min(CLASSES, len(probability))).indices.tolist()
        ),
        margin=sums[1][0],
        units=effects,
        others=tuple(everything - shown for _, shown, everything in sums),
        rest=tuple(total - everything for total, _, everything in sums),
        together=offs[-1],
        width=len(strength),
        passed=int(_passed(found)[0].sum()),
        deciding=int(deciding_units(found.to_margin[0]).sum()),
    )


def network_input(model: nn.Module, image: str | Path | Image.Image) -> Float[Tensor, "1 channels height width"]:
    """The picture as `model` takes it, on its device.

    Raises:
        FileNotFoundError: no such file. ValueError: it is no readable image; the reason is given.
    """
    if not isinstance(image, Image.Image):
        path = Path(image)
        if not path.is_file():
            raise FileNotFoundError(f"Expected an image file but got {str(image)!r}, which is not there")
        if reason := why_unreadable(path):
            raise ValueError(f"Expected a readable image but got {str(image)!r}: {reason}")
        image = read_rgb(path)
    return default_transform(model)(to_rgb(image))[None].to(next(model.parameters()).device)


def _switch_off(
    model: nn.Module, x: Tensor, layer: str, found: Contributions, units: Sequence[int], labels: Sequence[str]
) -> list[SwitchOff]:
    """One pass: nothing off, each unit off alone, all of them off. Differences are taken within the batch."""
    off = torch.zeros(len(units) + 2, found.to_logit.shape[1], dtype=torch.bool, device=x.device)
    for row, unit in enumerate(units, start=1):
        off[row, unit] = off[-1, unit] = True
    logits = logits_without(model, x.expand(len(off), *x.shape[1:]), layer, off)
    margins = _margin(logits, found)
    results = []
    for row in range(1, len(off)):
        best = int(logits[row].argmax())
        results.append(
            SwitchOff(
                logit=float(logits[0, found.predicted[0]] - logits[row, found.predicted[0]]),
                margin=margins[0] - margins[row],
                label=labels[best],
                probability=float(logits[row].softmax(0)[best]),
            )
        )
    return results


def _effect(
    module: nn.Module, found: Contributions, unit: int, off: SwitchOff, grid: tuple[int, int] | None, **described
) -> UnitEffect:
    competing = isinstance(module, StochasticLWTA)
    values = found.output[0, :, unit]
    won = found.won[0, :, unit] if found.won is not None else torch.ones_like(values, dtype=torch.bool)
    group, competitor = _group(module, found.output.shape[-1], unit) if competing else (None, None)
    return UnitEffect(
        unit=unit,
        group=group,
        competitor=competitor,
        value=float(values[found.reaches[0] & won].mean()),
        win_share=float(won.float().mean()) if competing else None,
        to_logit=float(found.to_logit[0, unit]),
        to_margin=float(found.to_margin[0, unit]),
        off=off,
        where=None if grid is None else _on_grid(values, won, grid),
        **described,
    )


def _described(dissection: Dissection | None, layer: str, unit: int) -> dict[str, Any]:
    if dissection is None:
        return {"name": "", "similarity": None, "exemplars": b""}
    description, strip = dissection.description(layer, unit), dissection.exemplars(layer, unit)
    return {
        "name": description.description,
        "similarity": description.similarity if description.description else None,
        "exemplars": strip.read_bytes() if strip.is_file() else b"",
    }


def _group(layer: StochasticLWTA, width: int, unit: int) -> tuple[int, int]:
    """Group and competitor of a unit."""
    count = width // layer.groups.competitors
    return (unit % count, unit // count) if layer.groups.layout == "strided" else divmod(unit, layer.groups.competitors)


def _grid(model: nn.Module, found: Contributions) -> tuple[int, int] | None:
    """Rows and columns of the layer's places on the picture; None where they are no square (or a single place)."""
    if len(found.places) == 2:
        return found.places
    tokens = found.output.shape[1] - class_tokens(model)
    side = isqrt(max(tokens, 0))
    return (side, side) if side * side == tokens > 1 else None


def _on_grid(values: Float[Tensor, "places"], won: Bool[Tensor, "places"], grid: tuple[int, int]) -> Grid:
    rows, columns = grid
    cells = [v if w else None for v, w in zip(values.tolist(), won.tolist(), strict=True)][-rows * columns :]
    return tuple(tuple(cells[row * columns : (row + 1) * columns]) for row in range(rows))


def _passed(found: Contributions) -> Bool[Tensor, "images units"]:
    given = found.output != 0 if found.won is None else found.won
    return (given & found.reaches[..., None]).any(1)


def _margin(logits: Float[Tensor, "images classes"], found: Contributions) -> list[float]:
    """The lead of the class predicted for the first image over its runner-up, in each row."""
    return (logits[:, found.predicted[0]] - logits[:, found.runner_up[0]]).tolist()


def _seen(model: nn.Module, x: Float[Tensor, "channels height width"]) -> Image.Image:
    """The network's input as a picture again; where its mean and standard deviation are not known, at full contrast."""
    if not hasattr(model, "pretrained_cfg"):
        x = (x - x.min()) / (x.max() - x.min()).clamp(min=1e-6)
        return Image.fromarray((x * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).cpu().numpy())
    config = data_config(model)
    mean, std = (x.new_tensor(config[key])[:, None, None] for key in ("mean", "std"))
    pixels = ((x * std + mean).clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
