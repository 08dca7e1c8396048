"""A timm backbone, dense or competing, as a LightningModule."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from timm.data import Mixup
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from competition_layers import (
    competitions,
    create_model,
    load_model,
    load_noise_state,
    model_defaults,
    noise_state,
    seed_noise,
)
from competition_layers.backbones import data_config
from competition_layers.competition import Competition, Estimator, Layout, Rule
from competition_layers.spec import with_labels
from competition_layers.wiring.sites import in_words

from .configuration import options_of
from .conversion.conversion import Conversion, Converting
from .evaluation import IN_THE_BAR, WATCHED_BATCHES, Readings
from .initial import load_initial_weights, scale_initial_weights
from .kl import KLToUniform
from .optimisers import optimisation
from .quiet import print_once
from .schedules import Schedule, value_at


class Classifier(LightningModule):
    """Trains a backbone; the number and names of the classes come from the data.

    The loss is cross-entropy with `label_smoothing`, plus `kl_weight` times the competitions' mean KL to the uniform
    prior. In a `conversion` a share of the cross-entropy gives way to the answers of the dense network it starts from.

    Args:
        backbone: a timm name, `hf-hub:` or `local-dir:`; for a conversion any dense network that `load_model` reads.
        competitors: U, or globs on activations with a U each, of which the first that fits counts; 1 is the dense twin.
        image_size: pixels of a side; by default the backbone's.
        include, exclude: globs on activations, see `activation_sites`.
        noise: scale of the Gumbel noise, or a schedule of it; the value at the end is saved with the model.
        temperature: of the straight-through gradient, or a schedule of it.
        inference: the rule in evaluation, saved with the model.
        estimator: what trains through the competitions: `gumbel`, `softmax`, `relaxed` or `argmax`.
        initial_gain: multiplies, once, the weights that feed a competition.
        model_args: go to timm.
        pretrained: start from the weights that belong to the backbone's name.
        initial_weights: start from a safetensors file, a model or run folder; a head of other size is left out.
        opt, lr, weight_decay, opt_args: timm's optimiser by name.
        sched, warmup_epochs, warmup_lr, min_lr, sched_args: timm's schedule by name, stepped at every update.
        kl_weight: of the KL term; 0 leaves it out.
        conversion: start from the backbone's trained weights and let competitions take its activations' place.
        samples: n, in the accuracy over n sampled passes that validation and test report.
        compile: torch.compile the network.
        channels_last: memory format of the network and its input.
    """

    def __init__(
        self,
        backbone: str = "vit_tiny_patch16_224",
        *,
        competitors: int | dict[str, int] = 8,
        image_size: int | None = None,
        include: str | list[str] | None = None,
        exclude: str | list[str] | None = None,
        layout: Layout = "strided",
        noise: float | Schedule = 0.0,
        temperature: float | Schedule = 1.0,
        inference: Rule = "argmax",
        estimator: Estimator = "gumbel",
        initial_gain: float = 1.0,
        model_args: dict[str, Any] | None = None,
        pretrained: bool = False,
        initial_weights: str | None = None,
        opt: str = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        opt_args: dict[str, Any] | None = None,
        sched: str = "cosine",
        warmup_epochs: float = 0.0,
        warmup_lr: float = 1e-6,
        min_lr: float = 0.0,
        sched_args: dict[str, Any] | None = None,
        label_smoothing: float = 0.1,
        kl_weight: float = 0.0,
        conversion: Conversion | None = None,
        samples: int = 8,
        compile: bool = False,
        channels_last: bool = False,
    ):
        options = options_of(locals())
        super().__init__()
        if conversion and (image_size or model_args or initial_weights or initial_gain != 1 or compile):
            raise ValueError(
                "Expected a conversion to start from the dense network as it is, but got image_size, model_args, "
                "initial_weights, initial_gain or compile"
            )
        self.options = options
        self.network = {
            "name": backbone,
            "competitors": competitors,
            "image_size": image_size,
            "include": include,
            "exclude": exclude or (),
            "competition": Competition(
                layout=layout,
                noise_scale=value_at(noise, 0),
                temperature=value_at(temperature, 0),
                estimator=estimator,
                inference=inference,
            ),
            "pretrained": pretrained,
            **(model_args or {}),
        }
        self.noise, self.temperature, self.initial_gain = noise, temperature, initial_gain
        self.initial_weights = initial_weights
        self.optimizer = {"opt": opt, "lr": lr, "weight_decay": weight_decay, **(opt_args or {})}
        self.schedule = {"sched": sched, "warmup_epochs": warmup_epochs, "warmup_lr": warmup_lr, "min_lr": min_lr}
        self.schedule |= sched_args or {}
        self.label_smoothing, self.kl_weight, self.samples = label_smoothing, kl_weight, samples
        self.compile_network, self.channels_last = compile, channels_last
        self.conversion = conversion
        self.converting: Converting | None = None
        self.model: Any = None  # built when the classes are known
        self.readings: Any = None
        self.kl: KLToUniform | None = None
        self.mix: Mixup | None = None

    def data_config(self) -> Mapping[str, Any]:
        """timm's data configuration of the network; known before the network is built, since the data need it first."""
        if self.model is not None:
            return data_config(self.model)
        return model_defaults(self.network["name"], image_size=self.network["image_size"])

    def configure_model(self) -> None:
        """Build the network, once the data are open and their classes known."""
        data = self.trainer.datamodule
        if self.model is None:
            self.model = self._build(data.label_names, data.num_classes)
        if self.converting and self.trainer.state.fn == TrainerFn.FITTING:
            self.converting.begin(self.model.to(self.trainer.strategy.root_device), data)
        if self.readings is None:
            self.readings = Readings(self.model.num_classes, samples=self.samples)
            self.train_accuracy = MulticlassAccuracy(self.model.num_classes, average="micro")

    def _build(self, label_names: Sequence[str], num_classes: int) -> nn.Module:
        model = create_model(num_classes=num_classes or None, **self.network)
        if model.lwta.left_out:
            print_once(f"{len(model.lwta.sites)} activations compete; left out: {in_words(model.lwta.left_out)}")
        if label_names:
            with_labels(model, label_names)
        if self.initial_weights:
            load_initial_weights(model, self.initial_weights)
        if self.initial_gain != 1:
            scale_initial_weights(model, self.initial_gain)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        if self.compile_network:
            model.compile()
        return model

    def open_dense(self) -> None:
        """Load the dense network of a conversion: its classes keep their numbers, so it comes before the data."""
        if self.conversion and self.model is None:
            self.model = load_model(self.network["name"]).train()
            if self.channels_last:
                self.model.to(memory_format=torch.channels_last)
            self.converting = Converting(self.conversion, self.model, self.network)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self._laid_out(x))

    def on_fit_start(self) -> None:
        seed_noise(self.model, torch.initial_seed() % 2**31, rank=self.global_rank)  # what seed_everything was given
        if self.compile_network:  # compiled noise comes from torch's stream, which seed_everything leaves alike
            torch.manual_seed(torch.initial_seed() + self.global_rank)
        self.mix = self._mixing()

    def on_train_start(self) -> None:
        self._anneal()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._anneal()  # for the next step; after the last one, what is saved

    def _anneal(self) -> None:
        share = self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)
        for layer in competitions(self.model).values():
            values = {"noise_scale": value_at(self.noise, share), "temperature": value_at(self.temperature, share)}
            layer.competition = replace(layer.competition, **values)
        if self.converting:
            self.converting.advance(share)

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The objective, and the logits it was computed from; `labels` are classes or shares of classes."""
        if self.kl_weight and self.kl is None:
            self.kl = KLToUniform(self.model)
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if self.converting:
            loss = self.converting.loss(loss, logits, self._laid_out(images))
        if self.kl is not None:
            loss = loss + self.kl_weight * self.kl.mean()
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
        return optimisation(self.model, self.optimizer, self.schedule, epochs=epochs, updates=updates)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(num_updates=self.trainer.global_step)  # timm's way

    def _read(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        look = {"every_rule": not fitting, "watch": batch_idx < WATCHED_BATCHES, "closely": batch_idx == 0}
        self.readings.update(self.model, self._laid_out(images), labels, **look)

    def _report(self, split: str) -> None:
        for name, value in self.readings.results().items():
            self.log(f"{split}_{name}", value, prog_bar=name in IN_THE_BAR, rank_zero_only=False)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def _mixing(self) -> Mixup | None:
        data = self.trainer.datamodule
        a = data.augmentation
        if not (a.mixup or a.cutmix):
            return None
        if data.batch_size % 2:
            raise ValueError(f"Expected an even batch_size for mixup and cutmix but got {data.batch_size}")
        return Mixup(
            mixup_alpha=a.mixup,
            cutmix_alpha=a.cutmix,
            prob=a.mix_probability,
            label_smoothing=0.0,  # the loss smooths
            num_classes=self.model.num_classes,
        )
