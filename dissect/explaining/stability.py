"""How often units win again: under new draws of the winners, a little noise and small shifts of the picture."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from competition_layers import StochasticLWTA, competitions, fixed_noise, inference_rule
from competition_layers.attribution import Contributions, flat_positions
from competition_layers.inference import logits_of
from competition_layers.linearised import winners_of

from .checks import Stability, UnitStability

DRAWS = 8
PICTURES = 8  # with noise, and shifted
NOISE = 0.05  # standard deviation, as a share of the picture's own
SHIFT = 1 / 56  # of the side: 4 pixels of 224


@torch.no_grad()
def stability(model: nn.Module, x: Tensor, layer: str, found: Contributions, units: Sequence[int]) -> Stability | None:
    """How the units of the first image fare; None where nothing competes."""
    if found.won is None:
        return None
    runs = {"noise": _again(model, _noisy(x), layer), "shifts": _again(model, _shifted(x), layer)}
    if any(each.competition.stochastic for each in competitions(model).values()):
        drawn = []
        with inference_rule(model, "sample"):
            for seed in range(1, DRAWS + 1):
                with fixed_noise(model, seed=1000 * seed):
                    drawn.append(_again(model, x[:1], layer, keep_noise=True))
        runs["draws"] = tuple(torch.cat(parts) for parts in zip(*drawn, strict=True))  # type: ignore[assignment]
    then = (found.won[0] & found.reaches[0, :, None])[:, list(units)]
    shares, answers = {}, {}
    for kind, (won, labels) in runs.items():
        again = (won[..., list(units)] & then).sum(1) / then.sum(0).clamp_min(1)
        shares[kind], answers[kind] = again.mean(0).tolist(), float((labels == found.predicted[0]).float().mean())
    draws = shares.get("draws", [None] * len(units))
    rows = zip(draws, shares["noise"], shares["shifts"], strict=True)
    whole = UnitStability(answers.get("draws"), answers["noise"], answers["shifts"])
    return Stability(tuple(UnitStability(*row) for row in rows), whole)


def _again(
    model: nn.Module, x: Tensor, layer: str, *, keep_noise: bool = False
) -> tuple[Bool[Tensor, "runs positions units"], Tensor]:
    """Who wins at `layer`, and what is predicted."""
    module, seen = model.get_submodule(layer), []
    assert isinstance(module, StochasticLWTA)
    hook = module.register_forward_hook(lambda m, inputs, _: seen.append(winners_of(m, inputs[0])))
    try:
        if keep_noise:
            labels = logits_of(model, x).argmax(1)
        else:
            with fixed_noise(model):
                labels = logits_of(model, x).argmax(1)
    finally:
        hook.remove()
    return flat_positions(seen[0], module.groups.channel_dim), labels


def _noisy(x: Float[Tensor, "images ..."]) -> Float[Tensor, "runs ..."]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(PICTURES, *x.shape[1:], generator=generator).to(x)
    return x[:1] + NOISE * x[0].std() * noise


def _shifted(x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "runs channels height width"]:
    """By a few pixels in each of the eight directions; what comes in at an edge repeats the edge."""
    by = max(1, round(SHIFT * x.shape[-1]))
    padded = nn.functional.pad(x[:1], (by, by, by, by), mode="replicate")
    height, width = x.shape[-2:]
    starts = [(row, column) for row in (0, by, 2 * by) for column in (0, by, 2 * by) if (row, column) != (by, by)]
    return torch.cat([padded[..., row : row + height, column : column + width] for row, column in starts])
