"""One pass of the probe images through a network: each unit's value for each image, and what it won."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from competition_layers import (
    StochasticLWTA,
    competitions,
    data_config,
    load_noise_state,
    noise_state,
    observe,
    seed_noise,
    winner_mask,
)
from competition_layers.names import match_names, nearest

from .axes import channel_axis
from .passes import batches
from .probe import ProbeImages
from .records import LayerRecord

SUMMARIES = ("mean", "max", "cls")


@torch.no_grad()
def record_activations(
    model: nn.Module,
    probe: ProbeImages,
    layers: str | Sequence[str],
    *,
    summaries: Sequence[str] | None = None,
    transform: Callable[[Image.Image], Tensor] | None = None,
    batch_size: int = 64,
) -> dict[str, LayerRecord]:
    """Run `model` once over the probe images, in evaluation mode, and record every layer that `layers` (names or
    globs) matches.

    Competitions follow their saved rule; under `sample` the record holds the winners of the very pass whose values it
    holds, and the noise starts at the same seed each time.

    Args:
        summaries: of `mean`, `max`, `cls`; by default one a layer: `cls` where the network reads its answer from a
            class token and the layer has tokens, else `mean`.
        transform: from a picture to the network's input; by default timm's evaluation transform for `model`.

    Raises:
        ValueError: an unknown layer or summary (the nearest is offered), or `cls` where there is no class token.
        RuntimeError: a layer that runs more than once in a pass, by name.
    """
    names = match_names(layers, [name for name, _ in model.named_modules() if name], what="layer")
    for summary in summaries or ():
        if summary not in SUMMARIES:
            raise ValueError(
                f"Expected a summary among {', '.join(SUMMARIES)} but got {summary!r}{nearest(summary, SUMMARIES)}"
            )
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    transform = transform or default_transform(model)
    store: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    done, was_training, noise = 0, model.training, noise_state(model)
    seed_noise(model, 0)
    model.eval()
    try:
        steps = tqdm(total=len(probe), desc="record", unit="image", disable=None, leave=False)
        for x in batches(probe, transform, batch_size=batch_size):
            with _summarised(model, names, summaries) as seen:
                model(x.to(device))
            for name in names:
                _fill(store[name], seen[name], done, len(probe))
            done += len(x)
            steps.update(len(x))
        steps.close()
    finally:
        model.train(was_training)
        load_noise_state(model, noise)
    return {name: LayerRecord.from_tensors(name, flat) for name, flat in store.items()}


def default_transform(model: nn.Module) -> Callable[[Image.Image], Tensor]:
    """timm's evaluation transform from the model's own data configuration."""
    if not hasattr(model, "pretrained_cfg"):
        raise ValueError(
            f"Expected transform=... for a model that timm did not make but got none ({type(model).__name__})"
        )
    from timm.data import create_transform  # seconds to import: only where a transform is needed

    return create_transform(**data_config(model), is_training=False)


def has_class_token(model: nn.Module) -> bool:
    """Whether tokens begin with a class token (timm's `cls_token`, torchvision's `class_token`)."""
    return any(isinstance(getattr(model, name, None), Tensor) for name in ("cls_token", "class_token"))


def reads_class_token(model: nn.Module) -> bool:
    """Whether it also reads its answer from it."""
    return has_class_token(model) and getattr(model, "global_pool", "token") == "token"


@contextmanager
def _summarised(
    model: nn.Module, names: Sequence[str], summaries: Sequence[str] | None
) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Inside the block run `model` once; afterwards each layer has its summaries of the batch.

    They are taken as each layer speaks: nothing large is kept, and a later module in place changes nothing.
    """
    competing = {name: layer for name, layer in competitions(model).items() if name in names}
    others = [name for name in names if name not in competing]
    seen: dict[str, dict[str, Tensor]] = {}

    def read(name: str, values: Tensor) -> dict[str, Tensor]:
        return _summarise(model, name, values, summaries)

    with (
        observe(model, list(competing), what="input", read=read) as from_inputs,
        observe(model, others, read=read) as from_outputs,
    ):
        yield seen
    seen.update({**from_inputs, **from_outputs})


def _summarise(model: nn.Module, name: str, values: Tensor, summaries: Sequence[str] | None) -> dict[str, Tensor]:
    """The chosen summaries of one layer and batch, in fp32, under `LayerRecord.tensors` names."""
    if not isinstance(values, Tensor) or values.ndim < 2:
        what = type(values).__name__ if not isinstance(values, Tensor) else tuple(values.shape)
        raise ValueError(f"Expected layer {name!r} to give one tensor (images, ..., units) but got {what}")
    axis = channel_axis(model, name, values)
    tokens = has_class_token(model) and (values.ndim == 2 or (values.ndim == 3 and axis == 2))
    chosen = summaries or ["cls" if tokens and reads_class_token(model) else "mean"]
    if "cls" in chosen and not tokens:
        raise ValueError(
            f"Expected layer {name!r} to have a class token for summary 'cls' but got none; use mean or max"
        )
    layer = model.get_submodule(name)
    if isinstance(layer, StochasticLWTA):
        return _of_competition(layer, values, axis, chosen)
    y = _positions(values, axis)
    made = {"mean": lambda: y.mean(1), "max": lambda: y.amax(1), "cls": lambda: y[:, 0]}
    return {f"summary.{s}": made[s]() for s in chosen}


def _of_competition(layer: StochasticLWTA, h: Tensor, axis: int, chosen: Sequence[str]) -> dict[str, Tensor]:
    """The same from what goes into a competition, with who won: by index, so that a winner of value 0 counts."""
    channel_dim, layout = layer.channel_dim, layer.layout
    won = winner_mask(layer.winners(h), layer.competitors, channel_dim=channel_dim, layout=layout)
    won = _positions(won, axis).bool()
    h = _positions(h, axis)
    y = h.masked_fill(~won, 0.0)
    anywhere, wins = won.any(1), won.sum(1)
    best = h.masked_fill(~won, -torch.inf).amax(1).masked_fill(~anywhere, 0.0)
    made = {"mean": (y.mean(1), anywhere), "max": (best, anywhere), "cls": (y[:, 0], won[:, 0])}
    flat = {f"summary.{s}": made[s][0] for s in chosen} | {f"won.{s}": made[s][1] for s in chosen}
    return flat | {"win_rate": wins / won.shape[1], "value_when_winning": y.sum(1) / wins.clamp(min=1)}


def _positions(x: Tensor, axis: int) -> Tensor:
    """(images, positions, units) in fp32, whatever the layout."""
    return x.movedim(axis, -1).flatten(1, -2).float() if x.ndim > 2 else x[:, None].float()


def _fill(store: dict[str, Tensor], flat: Mapping[str, Tensor], start: int, total: int) -> None:
    for name, part in flat.items():
        if name not in store:
            store[name] = torch.empty(total, part.shape[1], dtype=part.dtype)
        store[name][start : start + len(part)] = part
