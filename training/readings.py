"""How good a network is: its accuracy by each rule of inference, its loss, its density."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from competition_layers import competitions, observe, predict
from competition_layers.sparsity import Density

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
        self.density = Density()

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
            watch: look at which units pass (in one or two batches: for a competition it is 1/U by construction).
        """
        layers = competitions(model)
        if watch and layers:
            with observe(model, list(layers)) as outputs:
                logits = model.forward(images)  # not compiled: hooks added afterwards would be skipped
            for output in outputs.values():
                self.density.update(output != 0)
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
        seen = {name: metric for name, metric in metrics.items() if metric.update_called}
        values = {name: metric.compute() for name, metric in seen.items()}
        for metric in seen.values():
            metric.reset()
        return values
