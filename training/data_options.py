"""The options of the images that a network trains on, in groups."""

from dataclasses import dataclass, field
from typing import Any

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
        seed: of the held-out images and of the subset; not changed by the run's seed.
        subset: train on so many of the training images, drawn by `seed`.
    """

    train: str = "train"
    val: str | None = None
    test: str | None = "test"
    val_fraction: float = 0.1
    seed: int = 0
    subset: int | None = None

    def __post_init__(self):
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
            if getattr(self, name) < least:
                raise ValueError(f"Expected loading.{name} >= {least} but got {getattr(self, name)}")


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

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, which takes images in pairs."""
        return bool(self.mixup or self.cutmix)
