"""The options of the images that a network trains on, in groups."""

import re
from dataclasses import dataclass, field
from typing import Any

from competition_layers.checks import check_choice, check_number
from pictures import OnBad


@dataclass(frozen=True)
class NamedDataset:
    """A data set by timm's name; without one the images are those in `data_dir`.

    Args:
        name: `torch/cifar10`, `hfds/OWNER/NAME`, `wds/FOLDER`; `tfds/...` and `hfids/...` are streams.
        args: go to timm's `create_dataset` with it.
        download: let torchvision fetch it.
        class_names: names of the classes, in order; needed only where the data set cannot tell.
    """

    name: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    download: bool = False
    class_names: tuple[str, ...] = ()

    @property
    def streamed(self) -> bool:
        """Whether it is read as it comes."""
        return self.name.partition("/")[0].lower() in ("tfds", "hfids")


@dataclass(frozen=True)
class Splits:
    """Which images train, validate and test.

    Args:
        train: name of the training images; '' means that `data_dir` itself holds the classes.
        val: by default `val_fraction` of the training images are held out by `seed` instead.
        test: name of the test images.
        val_fraction: share of the training images held out for validation.
        seed: of the held-out images, the subset and wrong labels; not changed by the run's seed.
        subset: train on so many of the training images, drawn by `seed`.
        wrong_labels: share of the training images that are learnt as another class, drawn evenly by `seed`: what label
            noise does to a network.
    """

    train: str = "train"
    val: str | None = None
    test: str | None = "test"
    val_fraction: float = 0.1
    seed: int = 0
    subset: int | None = None
    wrong_labels: float = 0.0

    def __post_init__(self):
        check_number("splits.wrong_labels", self.wrong_labels, least=0)
        if self.wrong_labels > 1:
            raise ValueError(f"Expected splits.wrong_labels, a share, to be at most 1 but got {self.wrong_labels}")
        if self.val is None and not 0 < self.val_fraction < 1:
            raise ValueError(f"Expected splits.val_fraction between 0 and 1 but got {self.val_fraction}")


@dataclass(frozen=True)
class Loading:
    """How images reach the network.

    Args:
        batch_size: images a step and process.
        workers: processes that load images; 0 loads them in the training process.
        cache: keep decoded training images in memory (small images, few workers).
        on_bad: unreadable files are refused by name, skipped by name, or not looked for (`trust`).
    """

    batch_size: int = 64
    workers: int = 2
    cache: bool = False
    on_bad: OnBad = "refuse"

    def __post_init__(self):
        for name, least in (("batch_size", 1), ("workers", 0)):
            check_number(f"loading.{name}", getattr(self, name), least=least)


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image, in timm's words; `mixup` and the like to a batch.

    Args:
        scale, ratio: of the random crop's area and aspect.
        flip, vertical_flip: their probabilities.
        color_jitter: strength of random brightness, contrast and saturation.
        auto_augment: a policy such as `rand-m9-mstd0.5-inc1`; it takes the place of `color_jitter`.
        interpolation: of the crop: `bilinear`, `bicubic`, `random`; by default the network's.
        erase: probability of random erasing; `erase_mode` fills with `pixel`, `rand` or `const`.
        mixup, cutmix: strengths (alpha); `mix_probability` of a batch being mixed at all.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    flip: float = 0.5
    vertical_flip: float = 0.0
    color_jitter: float = 0.0
    auto_augment: str | None = None
    interpolation: str | None = None
    erase: float = 0.0
    erase_mode: str = "pixel"
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0

    def __post_init__(self):
        for name in ("flip", "vertical_flip", "erase", "mix_probability"):
            check_number(f"augmentation.{name}", getattr(self, name), least=0, most=1)
        for name in ("color_jitter", "mixup", "cutmix"):
            check_number(f"augmentation.{name}", getattr(self, name), least=0)
        for name, most in (("scale", 1.0), ("ratio", None)):
            low, high = getattr(self, name)
            check_number(f"augmentation.{name}'s least", low, above=0, most=most)
            check_number(f"augmentation.{name}'s most", high, least=low, most=most)
        check_choice("augmentation.erase_mode", self.erase_mode, ("pixel", "rand", "const"))
        if self.interpolation is not None:
            known = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos", "random")
            check_choice("augmentation.interpolation", self.interpolation, known)
        if self.auto_augment is not None:
            _check_policy(self.auto_augment)

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, which takes images in pairs."""
        return bool(self.mixup or self.cutmix)


def _check_policy(policy: str) -> None:
    """Refuse a policy that timm does not know, or of which it would leave a part out."""
    from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform

    kind, *sections = policy.split("-")
    makers = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
    makers |= dict.fromkeys(("original", "originalr", "v0", "v0r", "3a"), auto_augment_transform)
    check_choice(f"the first word of augmentation.auto_augment={policy!r}", kind, tuple(makers))
    try:
        if not all(re.fullmatch(r"t\w+|[a-z]+[\d.]+", section) for section in sections):
            raise ValueError("a section is a letter or a word and a number")
        makers[kind](policy, {})
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"Expected sections such as m9, mstd0.5, n2, inc1 in augmentation.auto_augment but got {policy!r}: {error}"
        ) from error
