"""A timm backbone, dense or competing, as a LightningModule."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from competition_layers import competition_kl, competitions, create_model, model_defaults, observe, predict, seed_noise
from competition_layers.backbones import data_config
from competition_layers.functional import Layout
from competition_layers.layers import Rule
from competition_layers.sparsity import Density
from competition_layers.spec import with_labels

from .annealing import Schedule, value_at
from .initial import load_initial_weights, scale_initial_weights


class Classifier(LightningModule):
    """Trains a backbone; the number and names of the classes come from the data.

    The loss is cross-entropy with `label_smoothing`, plus `kl_weight` times the competitions' mean KL to the uniform
    prior.

    Args:
        backbone: a timm name, `hf-hub:` or `local-dir:`.
        competitors: U; 1 is the dense twin.
        image_size: pixels of a side; by default the backbone's.
        include, exclude: globs on activations, see `activation_sites`.
        noise: scale of the Gumbel noise, or a schedule of it; the value at the end is saved with the model.
        temperature: of the straight-through gradient, or a schedule of it.
        inference: the rule in evaluation, saved with the model.
        initial_gain: multiplies, once, the weights that feed a competition.
        model_args: go to timm.
        pretrained: start from the weights that belong to the backbone's name.
        initial_weights: start from a safetensors file, a model or run folder; a head of other size is left out.
        opt, lr, weight_decay, opt_args: timm's optimiser by name.
        sched, warmup_epochs, warmup_lr, min_lr, sched_args: timm's schedule by name, stepped at every update.
        kl_weight: of the KL term; 0 leaves it out.
        samples: n, in the accuracy over n sampled passes that validation and test report.
        compile: torch.compile the network.
        channels_last: memory format of the network and its input.
    """

    def __init__(
        self,
        backbone: str = "vit_tiny_patch16_224",
        *,
        competitors: int = 8,
        image_size: int | None = None,
        include: str | list[str] = "*",
        exclude: str | list[str] | None = None,
        layout: Layout = "strided",
        noise: float | Schedule = 0.0,
        temperature: float | Schedule = 1.0,
        inference: Rule = "argmax",
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
        samples: int = 8,
        compile: bool = False,
        channels_last: bool = False,
    ):
        super().__init__()
        self.network = {
            "name": backbone,
            "competitors": competitors,
            "image_size": image_size,
            "include": include,
            "exclude": exclude,
            "layout": layout,
            "inference": inference,
            "pretrained": pretrained,
            **(model_args or {}),
        }
        self.noise, self.temperature, self.initial_gain = noise, temperature, initial_gain
        self.initial_weights = initial_weights
        self.optimizer = {"opt": opt, "lr": lr, "weight_decay": weight_decay, **(opt_args or {})}
        self.schedule = {
            "sched": sched,
            "warmup_epochs": warmup_epochs,
            "warmup_lr": warmup_lr,
            "min_lr": min_lr,
            **(sched_args or {}),
        }
        self.label_smoothing, self.kl_weight, self.samples = label_smoothing, kl_weight, samples
        self.compile_network, self.channels_last = compile, channels_last
        self.model: nn.Module | None = None
        self.mix: Mixup | None = None

    def data_config(self) -> Mapping[str, Any]:
        """timm's data configuration of the network; known before the network is built, since the data need it first."""
        if self.model is not None:
            return data_config(self.model)
        return model_defaults(self.network["name"], image_size=self.network["image_size"])

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        if self.model is None:
            self.model = self._build(data.label_names, data.num_classes)
        a = data.augmentation
        if stage == "fit" and (a.mixup or a.cutmix):
            self.mix = Mixup(
                mixup_alpha=a.mixup,
                cutmix_alpha=a.cutmix,
                prob=a.mix_probability,
                label_smoothing=self.label_smoothing,
                num_classes=data.num_classes,
            )
        classes = self.model.num_classes
        reads = ("saved_rule", "argmax", "one_sample", "samples")
        self.accuracy = nn.ModuleDict({name: MulticlassAccuracy(classes, average="micro") for name in reads})
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        self.density = Density()
        seed_noise(self.model, int(torch.initial_seed() % 2**31), rank=self.global_rank)

    def _build(self, label_names: Sequence[str], num_classes: int) -> nn.Module:
        model = create_model(
            num_classes=num_classes or None,
            noise=value_at(self.noise, 0),
            temperature=value_at(self.temperature, 0),
            **self.network,
        )
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

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.model(x)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        share = self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)
        for layer in competitions(self.model).values():
            layer.noise = value_at(self.noise, share)
            layer.temperature = value_at(self.temperature, share)

    def on_train_end(self) -> None:
        for layer in competitions(self.model).values():  # what is saved is what training ended with
            layer.noise, layer.temperature = value_at(self.noise, 1), value_at(self.temperature, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if self.mix is not None and len(x) % 2 == 0:
            x, y = self.mix(x, y)
        layers = competitions(self.model) if self.kl_weight else {}
        with observe(self.model, list(layers), what="input") as inputs:
            logits = self(x)
        loss = F.cross_entropy(logits, y, label_smoothing=0.0 if y.ndim == 2 else self.label_smoothing)
        self.train_accuracy(logits, y if y.ndim == 1 else y.argmax(1))
        for name, h in inputs.items():
            layer = layers[name]
            kl = competition_kl(h, layer.competitors, channel_dim=layer.channel_dim, layout=layer.layout)
            loss = loss + self.kl_weight / len(inputs) * kl
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "test")

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self(batch).softmax(-1)

    def _evaluate(self, batch: tuple[Tensor, Tensor], batch_idx: int, split: str) -> None:
        """The saved rule while training; afterwards `argmax`, one sample and n samples as well."""
        x, y = batch
        layers = competitions(self.model)
        with observe(self.model, list(layers) if batch_idx == 0 else []) as outputs:
            logits = self(x)
        for output in outputs.values():
            self.density.update(output != 0)
        self.log(f"{split}_loss", F.cross_entropy(logits, y))
        reads = {"saved_rule": logits}
        if layers and self.trainer.state.fn != TrainerFn.FITTING:
            reads |= {"argmax": predict(self, x, samples=0)}
            if any(layer.noise for layer in layers.values()):
                reads |= {"one_sample": predict(self, x, samples=1), "samples": predict(self, x, samples=self.samples)}
            else:  # without noise every sample is the argmax
                reads |= {"one_sample": reads["argmax"], "samples": reads["argmax"]}
        for read, scores in reads.items():
            name = {"saved_rule": "accuracy", "samples": f"accuracy_{self.samples}_samples"}.get(
                read, f"accuracy_{read}"
            )
            self.accuracy[read](scores, y)
            self.log(
                f"{split}_{name}",
                self.accuracy[read],
                prog_bar=read == "saved_rule",
                metric_attribute=f"accuracy.{read}",
            )
        if layers:
            self.log(f"{split}_density", self.density, prog_bar=True, on_step=False, on_epoch=True)

    def on_validation_epoch_start(self) -> None:
        self._start_noise()

    def on_test_epoch_start(self) -> None:
        self._start_noise()

    def _start_noise(self) -> None:
        """Evaluations after training repeat: their noise starts at one seed."""
        if self.trainer.state.fn != TrainerFn.FITTING:
            seed_noise(self.model, 0, rank=self.global_rank)

    def configure_optimizers(self):
        optimizer = create_optimizer_v2(self.model, **self.optimizer)
        epochs = max(1, self.trainer.max_epochs or 1)
        updates = max(1, self.trainer.estimated_stepping_batches // epochs)
        scheduler, _ = create_scheduler_v2(
            optimizer, num_epochs=epochs, step_on_epochs=False, updates_per_epoch=updates, **self.schedule
        )
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(num_updates=self.trainer.global_step)  # timm's, by updates
