"""The classifier's options in groups, checked where they are made; a group is a key of `model` in YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from competition_layers.checks import check_choice, check_number
from competition_layers.names import nearest

# timm's functions of time: what `plateau` has seen no checkpoint holds
SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant", "none")


@dataclass(frozen=True)
class Start:
    """What a network is before the first step.

    Args:
        pretrained: it has the weights that belong to the backbone's name.
        weights: a safetensors file, a model or run folder; a head of other size is left out.
        gain: multiplies, once, the weights that feed a competition.
        model_args: go to timm (`embed_dim`, `drop_path_rate`, ...), torchvision or the function that makes the network.
    """

    pretrained: bool = False
    weights: str | None = None
    gain: float = 1.0
    model_args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check_number("start.gain", self.gain, above=0)
        own = {
            **dict.fromkeys(
                ("pretrained", "image_size", "include", "exclude", "competitors", "competition", "decision")
            ),
            "num_classes": "the data have the classes",
            "checkpoint_path": "start.weights reads safetensors",
            **dict.fromkeys(("cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"), "start.weights has weights"),
            "features_only": "a classifier answers with logits",
        }
        _refuse_taken("start.model_args", self.model_args, own)
        if self.model_args.get("in_chans", 3) != 3:
            raise ValueError(
                f"Expected start.model_args with in_chans 3 but got {self.model_args['in_chans']}: every picture is "
                "read as RGB, a grey one with three equal channels"
            )


@dataclass(frozen=True)
class Optimizer:
    """timm's optimiser and its schedule, by name; the schedule is stepped at every update.

    Args:
        opt, lr, weight_decay: `opt_args` are the optimiser's further arguments (`momentum`, `betas`, `layer_decay`).
        sched: one of `SCHEDULES`; `none` leaves the rate as it is.
        warmup_epochs, warmup_lr, min_lr: the rate rises from `warmup_lr` first and ends at `min_lr`.
        sched_args: the schedule's further arguments (`decay_epochs`, `decay_rate`, ...).
    """

    opt: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    opt_args: dict[str, Any] = field(default_factory=dict)
    sched: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    sched_args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("lr", "weight_decay", "warmup_epochs", "warmup_lr", "min_lr"):
            check_number(f"optimizer.{name}", getattr(self, name), least=0)
        check_choice("optimizer.sched", self.sched, SCHEDULES)
        if self.opt != Optimizer.opt:
            _check_optimizer(self.opt)
        _refuse_taken("optimizer.opt_args", self.opt_args, dict.fromkeys(("opt", "lr", "weight_decay")))
        taken = ("sched", "warmup_epochs", "warmup_lr", "min_lr", "num_epochs", "step_on_epochs", "updates_per_epoch")
        _refuse_taken("optimizer.sched_args", self.sched_args, dict.fromkeys(taken))


@dataclass(frozen=True)
class Loss:
    """Cross-entropy with `label_smoothing`, plus `kl_weight` times the competitions' mean KL to the uniform prior."""

    label_smoothing: float = 0.1
    kl_weight: float = 0.0

    def __post_init__(self):
        check_number("loss.label_smoothing", self.label_smoothing, least=0, most=1)
        check_number("loss.kl_weight", self.kl_weight, least=0)


@dataclass(frozen=True)
class Execution:
    """How the network is computed; none of it changes what is learnt.

    Args:
        compile: by torch.compile.
        channels_last: memory format of the network and its input.
        samples: n, of the accuracy over n sampled passes that validation and test report.
    """

    compile: bool = False
    channels_last: bool = False
    samples: int = 8

    def __post_init__(self):
        check_number("execution.samples", self.samples, least=1)


def _check_optimizer(opt: str) -> None:
    from timm.optim import list_optimizers  # seconds: only where another one than the default is asked for

    known = list_optimizers()
    if opt.lower().removeprefix("lookahead_") not in known:
        raise ValueError(f"Expected optimizer.opt to be an optimiser of timm but got {opt!r}{nearest(opt, known)}")


def _refuse_taken(what: str, given: Mapping[str, Any], taken: Mapping[str, str | None]) -> None:
    """Refuse arguments that would overwrite, in silence, what has an option or a place of its own."""
    for name in given:
        if name in taken:
            why = taken[name] or f"{name} is an option of its own"
            raise ValueError(f"Expected {what} without {name!r} but got {given[name]!r}; {why}")
