"""How good a network is: its accuracy by each rule of inference, its loss, how its units compete."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.wrappers.abstract import WrapperMetric

from competition_layers import StochasticLWTA, competitions, fixed_noise, observe, predict_each, votes, winner_mask
from competition_layers.decision import has_decision
from competition_layers.decision_figures import (
    classes_served,
    necessary_units,
    sufficient_units,
    units_for_lead,
    values_won,
)
from competition_layers.metrics import Density, WinRate, dead_units, effective_density, winner_entropy

from .sampling import NOT_COUNTED

# of what is read, what the progress bar tells; the log has all of it
IN_THE_BAR = ("accuracy", "density", "effective_density", "dead_units", "winner_entropy", "agreement")
WIN_RATE_BATCHES = 4  # of a validation, its first ones
# of networks that end in a decision layer, medians over images as in `compare`: units that carry 90 % of the lead, that
# are enough without the others, that change the prediction when switched off; over units: classes that one serves
_OF_DECISIONS = ("deciding_units", "sufficient_units", "necessary_units", "classes_served")
_DECIDED = 64  # images of the first batch that the effective density is taken of: it costs a backward pass


@dataclass(frozen=True)
class SiteReading:
    """How the units of one layer competed in one validation; of all processes together."""

    site: str
    competitors: int
    density: float  # share of units that gave something other than 0
    dead_units: float
    winner_entropy: float
    win_rate: Float[Tensor, "units"]


@dataclass(frozen=True)
class _Watched:
    """What is collected of one layer."""

    layer: StochasticLWTA
    density: Density
    win_rate: WinRate


class Median(Metric):
    """The median of everything seen, by all processes, without NaN."""

    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, values: Tensor) -> None:
        self.values.append(values.float())

    def compute(self) -> Tensor:
        return dim_zero_cat(self.values).nanmedian()


class Readings(WrapperMetric):
    """Accuracies, loss, and how units compete: over batches, and over processes.

    Args:
        classes: from 10 on, the accuracy among the five likeliest is told too.
        samples: n, of the accuracy over n sampled passes.
    """

    def __init__(self, classes: int, *, samples: int):
        super().__init__()
        self.samples = samples
        # by the saved rule; the others only when asked for: they cost passes of their own
        names = ["accuracy", "accuracy_argmax", "accuracy_one_sample", f"accuracy_{samples}_samples"]
        top = dict.fromkeys(names, 1) | ({"accuracy_top5": 5} if classes >= 10 else {})
        self.accuracies = nn.ModuleDict(
            {
                name: MulticlassAccuracy(classes, average="micro", top_k=k, ignore_index=NOT_COUNTED)
                for name, k in top.items()
            }
        )
        self.loss, self.not_finite = MeanMetric(nan_strategy="ignore"), SumMetric()
        self.agreement, self.effective_density = MeanMetric(), MeanMetric()
        self.of_decisions = nn.ModuleDict({name: Median() for name in _OF_DECISIONS})
        self.watched: dict[str, _Watched] = {}  # by layer, in the order in which they run

    def update(
        self,
        model: nn.Module,
        images: Float[Tensor, "images *shape"],
        labels: Int[Tensor, "images"],
        *,
        every_rule: bool = False,
        with_win_rates: bool = False,
        with_effective_density: bool = False,
    ) -> None:
        """One batch.

        Args:
            every_rule: read out by `argmax`, one sample and n samples too.
            with_win_rates: look at who wins (in a few batches).
            with_effective_density: and at how many units decide (in one of them).
        """
        layers = competitions(model)
        if with_win_rates and layers:
            logits = self._update_competition(model, images, labels != NOT_COUNTED)
            if with_effective_density:
                self._update_effective_density(model, images[:_DECIDED], labels[:_DECIDED] != NOT_COUNTED)
        else:
            logits = model(images)
        losses = F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=NOT_COUNTED)
        self.loss.update(losses, weight=(labels != NOT_COUNTED).float())
        self.not_finite.update((~logits.isfinite().all(-1)).sum())
        scores = dict.fromkeys(("accuracy", "accuracy_top5"), logits)
        if every_rule and layers:
            scores |= self._by_rule(model, images)
        for name, metric in self.accuracies.items():
            if name in scores:
                metric.update(scores[name], labels)

    def compute(self) -> dict[str, Tensor]:
        """The figures of everything seen since the last `reset`; of the competition, means over layers.

        Raises:
            ValueError: some logits were not finite: such a network has no accuracy.
        """
        bad = int(self.not_finite.compute()) if self.not_finite.update_called else 0
        if bad:
            raise ValueError(
                f"Expected finite logits but got NaN or infinity for {bad} images: the weights are not finite (lower "
                "the learning rate, clip gradients), or the precision is too small (--trainer.precision 32)"
            )
        sites = self.site_readings()
        names = ("density", "dead_units", "winner_entropy") if sites else ()
        return {
            **{name: metric.compute() for name, metric in self._figures().items() if metric.update_called},
            **{name: torch.tensor([getattr(site, name) for site in sites]).mean() for name in names},
        }

    def site_readings(self) -> list[SiteReading]:
        """Each layer's reading, in the order in which they run."""
        return [_site_reading(name, watched) for name, watched in self.watched.items()]

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        for metric in (*self._figures().values(), self.not_finite):
            metric.reset()
        self.watched = {}

    def _figures(self) -> dict[str, Metric]:
        competing = {"agreement": self.agreement, "effective_density": self.effective_density}
        return {"loss": self.loss, **self.accuracies, **competing, **self.of_decisions}

    def _update_competition(self, model: nn.Module, images: Tensor, counted: Tensor) -> Tensor:
        """Watch one pass; its logits."""
        layers = competitions(model)
        with (
            observe(
                model, list(layers), what="input", read=lambda name, h: self._watch(name, layers[name], h, counted)
            ),
            observe(model, list(layers), read=lambda name, y: self.watched[name].density.update(_of(y, counted) != 0)),
        ):
            return model.forward(images)  # not compiled: hooks added afterwards would be skipped

    def _watch(self, name: str, layer: StochasticLWTA, h: Tensor, counted: Tensor) -> None:
        """Who wins in one layer: by `argmax`, and whether a sample agrees with it."""
        h = h.detach()
        best, drawn = (_of(layer.winners(h, sampled=sampled), counted) for sampled in (False, True))
        self.agreement.update((best == drawn).float())
        won = winner_mask(drawn if layer.noisy else best, layer.groups).movedim(layer.groups.channel_dim, -1)
        if name not in self.watched:
            self.watched[name] = _Watched(layer, Density().to(h.device), WinRate(won.shape[-1]).to(h.device))
        self.watched[name].win_rate.update(won)

    def _update_effective_density(self, model: nn.Module, images: Tensor, counted: Tensor) -> None:
        shares = decision_density(model, images, list(self.watched)[-1])
        if shares is not None:
            self.effective_density.update(shares[counted])
        if has_decision(model):
            every = votes(model, images)
            parts = {name: getattr(every, name)[counted] for name in ("logits", "units", "values")}
            found = replace(every, **parts)
            served = classes_served(values_won(found), found.weights)
            figures = (units_for_lead(found), sufficient_units(found), necessary_units(found), served)
            for name, figure in zip(_OF_DECISIONS, figures, strict=True):
                self.of_decisions[name].update(figure)

    def _by_rule(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        noisy = any(layer.competition.noise_scale for layer in competitions(model).values())
        argmax, *drawn = predict_each(model, images, [0, 1, self.samples] if noisy else [0])
        one, many = drawn or (argmax, argmax)  # without noise every sample is the argmax
        return {
            "accuracy_argmax": argmax,
            "accuracy_one_sample": one,
            f"accuracy_{self.samples}_samples": many,
        }


def decision_density(
    model: nn.Module, images: Float[Tensor, "images *shape"], layer: str
) -> Float[Tensor, "images"] | None:
    """The share of units of `layer` behind 90 % of the margin, the top logit less the runner-up's, image by image.

    A unit's contribution is gradient times activation, summed over positions: exact where all that follows is linear,
    else to first order. The model is read by its own rule, and its noise goes on as if nobody had looked.

    Returns:
        None where axis 0 of the layer's output does not count images.
    """
    cut: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        cut.append(output.detach().requires_grad_())
        return cut[0].clone()  # a later module may write into it

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        # validation runs in inference mode, whose tensors autograd refuses
        with torch.inference_mode(False), torch.enable_grad(), fixed_noise(model):
            top, runner_up = model.forward(images.clone()).float().topk(2, dim=1).values.unbind(1)
            (gradient,) = torch.autograd.grad((top - runner_up).sum(), cut)
    finally:
        handle.remove()
    channel_dim = model.get_submodule(layer).groups.channel_dim
    by_unit = (cut[0].detach() * gradient).float().movedim(channel_dim, -1)
    if len(by_unit) != len(images):
        return None
    return effective_density(by_unit.reshape(len(images), -1, by_unit.shape[-1]).sum(1))


def _site_reading(name: str, watched: _Watched) -> SiteReading:
    layer, win_rate = watched.layer, watched.win_rate.compute().cpu()
    return SiteReading(
        site=name,
        competitors=layer.groups.competitors,
        density=watched.density.compute().item(),
        dead_units=dead_units(win_rate).item(),
        winner_entropy=winner_entropy(win_rate, layer.groups).item(),
        win_rate=win_rate,
    )


def _of(t: Tensor, counted: Tensor) -> Tensor:
    return t[counted] if len(t) == len(counted) else t  # else axis 0 holds windows of several images
