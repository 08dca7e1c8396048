"""How often units win again: under new draws of the winners, a little noise and small shifts of the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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
def stability(
    model: nn.Module, x: Tensor, layer: str, found: Contributions, units: Sequence[Sequence[int]]
) -> list[Stability | None]:
    """How the `units` of each image fare; None where nothing competes."""
    if found.won is None:
        return [None] * len(x)
    with fixed_noise(model):
        runs = {"noise": _again(model, _noisy(x), layer), "shifts": _again(model, _shifted(x), layer)}
    if any(each.competition.stochastic for each in competitions(model).values()):
        drawn = []
        with inference_rule(model, "sample"):
            for seed in range(1, DRAWS + 1):
                with fixed_noise(model, seed=1000 * seed):
                    drawn.append(_again(model, x[:, None], layer))
        runs["draws"] = _Runs(*(torch.cat([getattr(run, name) for run in drawn], 1) for name in ("won", "labels")))
    return [_stability(found.of(i), {kind: run.of(i) for kind, run in runs.items()}, units[i]) for i in range(len(x))]


@dataclass(frozen=True)
class _Runs:
    """Passes over changed pictures: who won at the layer, and what was predicted."""

    won: Bool[Tensor, "images runs positions units"]
    labels: Int[Tensor, "images runs"]

    def of(self, image: int) -> "_Runs":
        return _Runs(self.won[image : image + 1], self.labels[image : image + 1])


def _stability(found: Contributions, runs: Mapping[str, _Runs], units: Sequence[int]) -> Stability:
    assert found.won is not None
    then = (found.won[0] & found.reaches[0, :, None])[:, list(units)]
    shares, answers = {}, {}
    for kind, run in runs.items():
        again = (run.won[0, ..., list(units)] & then).sum(1) / then.sum(0).clamp_min(1)
        shares[kind], answers[kind] = (
            again.mean(0).tolist(),
            float((run.labels[0] == found.predicted[0]).float().mean()),
        )
    draws = shares.get("draws", [None] * len(units))
    rows = zip(draws, shares["noise"], shares["shifts"], strict=True)
    whole = UnitStability(answers.get("draws"), answers["noise"], answers["shifts"])
    return Stability(tuple(UnitStability(*row) for row in rows), whole)


def _again(model: nn.Module, x: Float[Tensor, "images runs channels height width"], layer: str) -> _Runs:
    """What happens on each of the pictures, in one pass."""
    module, seen = model.get_submodule(layer), []
    assert isinstance(module, StochasticLWTA)
    hook = module.register_forward_hook(lambda m, inputs, _: seen.append(winners_of(m, inputs[0])))
    try:
        labels = logits_of(model, x.flatten(0, 1)).argmax(1)
    finally:
        hook.remove()
    won = flat_positions(seen[0], module.groups.channel_dim)
    return _Runs(won.unflatten(0, x.shape[:2]), labels.view(x.shape[:2]))


def _noisy(x: Float[Tensor, "images *shape"]) -> Float[Tensor, "images runs *shape"]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(PICTURES, *x.shape[1:], generator=generator).to(x)
    return x[:, None] + NOISE * x.flatten(1).std(1)[:, None, None, None, None] * noise


def _shifted(x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images runs channels height width"]:
    """By a few pixels in each of the eight directions; what comes in at an edge repeats the edge."""
    by = max(1, round(SHIFT * x.shape[-1]))
    padded = nn.functional.pad(x, (by, by, by, by), mode="replicate")
    height, width = x.shape[-2:]
    starts = [(row, column) for row in (0, by, 2 * by) for column in (0, by, 2 * by) if (row, column) != (by, by)]
    return torch.stack([padded[..., row : row + height, column : column + width] for row, column in starts], 1)
