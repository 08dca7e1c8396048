"""How good a network is: its accuracy by each rule of inference, its loss, how its units compete."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from competition_layers import StochasticLWTA, competitions, observe, predict, winner_mask, winners
from competition_layers.sparsity import Density, WinRate, dead_units, winner_entropy

from .sampling import NOT_COUNTED


class Readings(nn.Module):
    """Collects over batches, and over processes; `results` gives the figures and starts anew.

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
        self.loss = MeanMetric()
        self.density, self.agreement = Density(), MeanMetric()
        self.win_rates: dict[str, tuple[WinRate, StochasticLWTA]] = {}  # by layer, once a layer was looked at

    def update(
        self,
        model: nn.Module,
        images: Float[Tensor, "images channels height width"],
        labels: Int[Tensor, "images"],
        *,
        every_rule: bool,
        watch: bool,
    ) -> None:
        """One batch.

        Args:
            every_rule: read out by `argmax`, one sample and n samples too.
            watch: look at who wins (in a few batches).
        """
        layers = competitions(model)
        if watch and layers:
            counted = labels != NOT_COUNTED
            names = list(layers)
            with (
                observe(model, names, what="input", read=lambda name, h: self._watch(name, layers[name], h, counted)),
                observe(model, names, read=lambda name, y: self.density.update(y != 0)),
            ):
                logits = model.forward(images)  # not compiled: hooks added afterwards would be skipped
        else:
            logits = model(images)
        losses = F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=NOT_COUNTED)
        self.loss.update(losses, weight=(labels != NOT_COUNTED).float())
        scores = {"accuracy": logits}
        if "accuracy_top5" in self.accuracies:
            scores["accuracy_top5"] = logits
        if every_rule and layers:
            scores |= self._by_rule(model, images, noisy=any(layer.noise for layer in layers.values()))
        for name, logits_of_rule in scores.items():
            self.accuracies[name].update(logits_of_rule, labels)

    def _watch(self, name: str, layer: StochasticLWTA, h: Tensor, counted: Tensor) -> None:
        """Who wins in one layer: by `argmax`, and whether a sample agrees with it."""
        h = h.detach()
        how = {"channel_dim": layer.channel_dim, "layout": layer.layout}
        best = winners(h, layer.competitors, **how)
        sampled = layer.drawn(h) if layer.noise > 0 and layer.estimator != "argmax" else None
        drawn = best if sampled is None else winners(h, layer.competitors, noise=sampled, **how)
        if len(h) == len(counted):  # else axis 0 holds windows of several images
            best, drawn = best[counted], drawn[counted]
        self.agreement.update((best == drawn).float())
        won = winner_mask(drawn if layer.noisy else best, layer.competitors, **how).movedim(layer.channel_dim, -1)
        if name not in self.win_rates:
            self.win_rates[name] = (WinRate(won.shape[-1]).to(h.device), layer)
        self.win_rates[name][0].update(won)

    def _competition(self) -> dict[str, Tensor]:
        """The mean over layers of the share of dead units and of the entropy of winners; over all processes."""
        rates = [(metric.compute(), layer) for metric, layer in self.win_rates.values()]
        self.win_rates = {}
        if not rates:
            return {}
        entropies = [winner_entropy(rate, layer.competitors, layout=layer.layout) for rate, layer in rates]
        return {
            "dead_units": torch.stack([dead_units(rate) for rate, _ in rates]).mean(),
            "winner_entropy": torch.stack(entropies).mean(),
        }

    def _by_rule(self, model: nn.Module, images: Tensor, *, noisy: bool) -> dict[str, Tensor]:
        argmax = predict(model, images, samples=0)
        one = predict(model, images, samples=1) if noisy else argmax  # without noise every sample is the argmax
        many = predict(model, images, samples=self.samples) if noisy else argmax
        return {
            "accuracy_argmax": argmax,
            "accuracy_one_sample": one,
            f"accuracy_{self.samples}_samples": many,
        }

    def results(self) -> dict[str, Tensor]:
        """The figures of everything seen since the last call."""
        metrics: dict[str, Metric] = {"loss": self.loss, **self.accuracies, "density": self.density}
        metrics["agreement"] = self.agreement
        seen = {name: metric for name, metric in metrics.items() if metric.update_called}
        values = {name: metric.compute() for name, metric in seen.items()}
        for metric in seen.values():
            metric.reset()
        return values | self._competition()
