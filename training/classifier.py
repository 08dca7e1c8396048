"""A backbone, dense or competing, as a LightningModule."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from timm.data import Mixup
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from competition_layers import (
    DecisionHead,
    DecisionLayer,
    competitions,
    load_model,
    load_noise_state,
    noise_state,
    project_votes,
    seed_noise,
)
from competition_layers.checks import check_number
from competition_layers.competition import Competition
from competition_layers.decision import SITE as DECISION
from competition_layers.decision import head_of

from .configuration import options_of
from .conversion.conversion import Conversion, Converting
from .decision.feature_data import FeatureData
from .decision.terms import Terms
from .evaluation import IN_THE_BAR, WIN_RATE_BATCHES, Readings, SiteReading
from .initial import check_frozen
from .kl import KLToUniform
from .network import Globs, Network
from .optimisers import optimisation
from .options import Execution, Loss, Optimizer, Start
from .schedules import Annealing


class Classifier(LightningModule):
    """Trains a backbone; the number and names of the classes come from the data.

    In a `conversion` a share of the cross-entropy gives way to the answers of the dense network it starts from.

    Args:
        backbone: a timm name, `hf-hub:`, `local-dir:`, `torchvision:NAME[/WEIGHTS]` or `package.module:function`, see
            `create_model`; for a conversion any dense network that `load_model` reads.
        competitors: U, or globs on activations with a U each, of which the first that fits counts; 1 is the dense twin.
        image_size: pixels of a side; by default the backbone's.
        include, exclude: globs on activations, see `activation_sites`.
        competition: how the units of a group compete, at the start and, where nothing is annealed, throughout.
        annealing: how its noise and its temperature change while the network trains.
        start: what the network is before the first step.
        optimizer: timm's optimiser and its schedule.
        loss: cross-entropy, and the KL to the uniform prior.
        conversion: start from the backbone's trained weights and let competitions take its activations' place.
        decision: a decision layer in the place of the classifier; its noise is its own and is not annealed.
        train: `all`, or the `decision` layer alone, on features of the frozen backbone that are computed once.
        views: for `train: decision`, 1: each picture as it is evaluated; more: so many augmented views of each.
        execution: how the network is computed.
    """

    def __init__(
        self,
        backbone: str = "vit_tiny_patch16_224",
        *,
        competitors: int | dict[str, int] = 8,
        image_size: int | None = None,
        include: Globs = None,
        exclude: Globs = None,
        competition: Competition = Competition(noise_scale=0.0),
        annealing: Annealing = Annealing(),  # noqa: B008
        start: Start = Start(),  # noqa: B008
        optimizer: Optimizer = Optimizer(),  # noqa: B008
        loss: Loss = Loss(),  # noqa: B008
        conversion: Conversion | None = None,
        decision: DecisionLayer | None = None,
        train: Literal["all", "decision"] = "all",
        views: int = 1,
        execution: Execution = Execution(),  # noqa: B008
    ):
        options = options_of(locals())
        super().__init__()
        annealing.at(competition, 0.0)  # refuses what has no course between its ends
        if conversion and (image_size or start != Start() or execution.compile):
            raise ValueError(
                "Expected a conversion to start from the dense network as it is, but got image_size, start or "
                "execution.compile"
            )
        if conversion and competition.activation != "competition":
            raise ValueError(f"Expected a conversion to a competition but got one to {competition.activation!r}")
        if conversion and decision:
            raise ValueError("Expected a conversion, which keeps the classifier, or a decision layer but got both")
        if train == "decision" and decision is None:
            raise ValueError(
                "Expected a decision layer for train='decision' but got none: --model.decision.units 160 "
                "--model.decision.competitors 16"
            )
        if train == "decision" and execution.compile:
            raise ValueError("Expected no execution.compile for train='decision': the backbone runs once")
        check_number("views", views, least=1)
        if views > 1 and train != "decision":
            raise ValueError(f"Expected views of 1 but got {views}: only train='decision' keeps views of a picture")
        self.options = options
        self.network = Network(backbone, competitors, image_size, include, exclude, competition, start, decision)
        self.trains_decision, self.views = train == "decision", views
        self.annealing, self.optimizer, self.objective, self.execution = annealing, optimizer, loss, execution
        self.conversion = conversion
        self.converting: Converting | None = None
        self.model: Any = None  # built when the classes are known
        self.readings: Any = None
        self.site_readings: list[SiteReading] = []  # of the latest evaluation
        self.kl: KLToUniform | None = None
        self.terms: Terms | None = None  # of the decision layer
        self.head: DecisionHead | None = None  # the model's decision layer, where batches are features
        self.mix: Mixup | None = None

    def configure_model(self) -> None:
        """Build the network, once the data are open and their classes known."""
        data = self.trainer.datamodule
        if self.model is None:
            self.model = self._laid_out(self.network.build(data.label_names, data.num_classes))
            if self.execution.compile:
                self.model.compile()
        if isinstance(data, FeatureData) and self.head is None:
            check_frozen(self.model, self.network.start)
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith("decision"))
            self.head = head_of(self.model)
        if self.converting and self.trainer.state.fn == TrainerFn.FITTING:
            self.converting.begin(self.model.to(self.trainer.strategy.root_device), data)
        if self.readings is None:
            self.readings = Readings(self.model.lwta.num_classes, samples=self.execution.samples)
            self.train_accuracy = MulticlassAccuracy(self.model.lwta.num_classes, average="micro")

    def prepare(self) -> None:
        """What comes before the data are opened: a backbone that cannot be is refused, a conversion's is loaded.

        The classes of a conversion keep their numbers, so the data ask for them.
        """
        if self.model is not None:
            return
        if not self.conversion:
            self.network.check()
        else:
            self.model = self._laid_out(load_model(self.network.backbone).train())
            self.converting = Converting(self.conversion, self.model, self.network)

    @property
    def network_of_batches(self) -> nn.Module:
        """What answers to a batch: the network, or its decision layer where batches are features."""
        return self.model if self.head is None else self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.network_of_batches(self._ordered(x))

    def on_fit_start(self) -> None:
        seed_noise(self.model, torch.initial_seed() % 2**31, rank=self.global_rank)  # what seed_everything was given
        self.mix = self._mixing()

    def on_train_start(self) -> None:
        self._anneal()
        if self.head is not None:
            features = self.head.decision_features
            for own, found in zip((features.mean, features.std), self.trainer.datamodule.moments(), strict=True):
                own.copy_(found)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.network.decision:  # before weights are averaged
            project_votes(self.model)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._anneal()  # for the next step; after the last one, what is saved

    def _anneal(self) -> None:
        share = self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)
        for name, layer in competitions(self.model).items():
            if name != DECISION:
                layer.competition = self.annealing.at(self.network.competition, share)
        if self.converting:
            self.converting.advance(share)

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The objective, and the logits it was computed from; `labels` are classes or shares of classes."""
        if self.objective.kl_weight and self.kl is None:
            self.kl = KLToUniform(self.model)
        decision = self.network.decision
        if decision and self.terms is None:
            self.terms = Terms(self.model, decision)
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.objective.label_smoothing)
        if self.converting:
            loss = self.converting.loss(loss, logits, self._ordered(images))
        if self.kl is not None:
            loss = loss + self.objective.kl_weight * self.kl.mean()
        if self.terms is not None:
            loss = loss + self.terms.loss()
        return loss, logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.mix is not None:
            images, labels = self.mix(images, labels)
        loss, logits = self.loss(images, labels)
        self.train_accuracy(logits, labels if labels.ndim == 1 else labels.argmax(1))
        self.log("loss", loss, prog_bar=True, logger=False)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """While training by the saved rule alone; afterwards by `argmax`, one sample and n samples too."""
        self._read(batch, batch_idx)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._read(batch, batch_idx)

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self(batch).float().softmax(-1)

    def on_validation_epoch_start(self) -> None:
        # evaluations repeat, and draw nothing from the noise that training goes on with
        self.training_noise = noise_state(self.model)
        seed_noise(self.model, 0, rank=self.global_rank)

    def on_validation_epoch_end(self) -> None:
        load_noise_state(self.model, self.training_noise)
        self._report("val")

    def on_test_epoch_start(self) -> None:
        seed_noise(self.model, 0, rank=self.global_rank)

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def configure_optimizers(self) -> dict[str, Any]:
        epochs = max(1, self.trainer.max_epochs or 1)
        updates = max(1, self.trainer.estimated_stepping_batches // epochs)
        return optimisation(self.model, self.optimizer, epochs=epochs, updates=updates)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # timm's schedules are functions of the update: a run that goes on for longer follows its new length
        checkpoint["lr_schedulers"] = [{} for _ in checkpoint["lr_schedulers"]]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(num_updates=self.trainer.global_step)  # timm's way

    def _read(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        self.readings.update(
            self.network_of_batches,
            self._ordered(images),
            labels,
            every_rule=self.trainer.state.fn != TrainerFn.FITTING,
            with_win_rates=batch_idx < WIN_RATE_BATCHES,
            with_effective_density=batch_idx == 0,
        )

    def _report(self, split: str) -> None:
        figures = self.readings.compute()
        self.site_readings = self.readings.site_readings()
        self.readings.reset()
        for name, value in figures.items():
            # computed over all processes already; the mean of equal values is one
            self.log(f"{split}_{name}", value, prog_bar=name in IN_THE_BAR, sync_dist=True)

    def _laid_out(self, network: nn.Module) -> nn.Module:
        return network.to(memory_format=torch.channels_last) if self.execution.channels_last else network

    def _ordered(self, images: Tensor) -> Tensor:
        if self.execution.channels_last and images.ndim == 4 and self.head is None:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def _mixing(self) -> Mixup | None:
        data = self.trainer.datamodule
        a = data.augmentation
        if not a.mixes:
            return None
        if data.loading.batch_size % 2:
            raise ValueError(f"Expected an even batch_size for mixup and cutmix but got {data.loading.batch_size}")
        return Mixup(
            mixup_alpha=a.mixup,
            cutmix_alpha=a.cutmix,
            prob=a.mix_probability,
            label_smoothing=0.0,  # the loss smooths
            num_classes=self.model.lwta.num_classes,
        )
