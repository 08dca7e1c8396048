"""The images a network trains on, as a LightningDataModule."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from timm.data import create_transform
from torch.utils.data import DataLoader

from pictures.datasets import FolderImages, OnBad, StreamedImages, Subset, TimmImages, folder_of, is_streamed, split_off
from pictures.decoding import EXTENSIONS, read_rgb

from .configuration import options_of
from .sampling import EpochSampler, SeededDataset


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


class ImageData(LightningDataModule):
    """Folders (`data_dir/train/CLASS/*.jpg`) or any timm data set, with the transforms of the model's own config.

    Args:
        data_dir: holds one folder a split, or is the root that the named `dataset` asks for.
        dataset: empty for folders; otherwise timm's `torch/cifar10`, `hfds/OWNER/NAME`, `wds/...`.
        dataset_args: go to timm's `create_dataset` with it.
        train_split: name of the training images; for folders '' means that `data_dir` itself holds the classes.
        val_split: by default `val_fraction` of the training images are held out by `split_seed` instead.
        test_split: name of the test images.
        val_fraction: share of the training images held out for validation.
        split_seed: of the held-out images and of the subset; not changed by the run's seed.
        subset: train on so many of the training images, drawn by `split_seed`.
        batch_size: images a step and process.
        workers: processes that load images; 0 loads them in the training process.
        augmentation: what happens to training images.
        on_bad: unreadable files are refused by name, skipped by name, or not looked for (`trust`).
        download: let torchvision fetch the data set.
        cache: keep decoded training images in memory (small images, few workers).
        class_names: names of the classes, in order; needed only where the data set cannot tell (`wds/...`).
        seed: of order and augmentation; by default that of the run.
    """

    def __init__(
        self,
        data_dir: str = "",
        dataset: str = "",
        *,
        dataset_args: dict[str, Any] | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        test_split: str | None = "test",
        val_fraction: float = 0.1,
        split_seed: int = 0,
        subset: int | None = None,
        batch_size: int = 64,
        workers: int = 2,
        augmentation: Augmentation = Augmentation(),
        on_bad: OnBad = "refuse",
        download: bool = False,
        cache: bool = False,
        class_names: list[str] | None = None,
        seed: int | None = None,
    ):
        options = options_of(locals())
        super().__init__()
        self.options = options
        if not data_dir and not dataset:
            raise ValueError("Expected data_dir (a folder of images) or dataset (a timm name) but got neither")
        if val_split is None and not 0 < val_fraction < 1:
            raise ValueError(f"Expected val_fraction between 0 and 1 but got {val_fraction}")
        if is_streamed(dataset) and (val_split is None or subset is not None):
            raise ValueError(f"Expected val_split and no subset for {dataset!r}: a stream cannot be split by index")
        self.data_dir, self.dataset, self.on_bad = data_dir, dataset, on_bad
        self.dataset_args = {"download": download, **(dataset_args or {})}
        self.train_split, self.val_split, self.test_split = train_split, val_split, test_split
        self.val_fraction, self.split_seed, self.subset = val_fraction, split_seed, subset
        self.batch_size, self.workers, self.cache = batch_size, workers, cache
        self.augmentation, self.seed = augmentation, seed
        self.label_names: tuple[str, ...] = tuple(class_names or ())
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.images: dict[str, Any] = {}

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    def setup(self, stage: str | None = None) -> None:
        """Open what the stage needs; afterwards `label_names` is known."""
        network = getattr(getattr(self.trainer, "lightning_module", None), "model", None)
        if network is not None and network.lwta.label_names:
            self.label_names = network.lwta.label_names  # a trained network's classes keep their numbers
        if stage in (None, "fit", "validate") and "val" not in self.images:
            self._open_training()
        if stage in (None, "test") and "test" not in self.images:
            if self.test_split is None:
                raise ValueError("Expected test_split to name the test images but got none")
            self.images["test"] = self._opened(self.test_split)

    def train_dataloader(self) -> DataLoader:
        a = self.augmentation
        config = self._data_config()
        transform = create_transform(
            **{**config, "interpolation": a.interpolation or config["interpolation"]},
            is_training=True,
            scale=a.scale,
            ratio=a.ratio,
            hflip=a.flip,
            vflip=a.vertical_flip,
            color_jitter=a.color_jitter,
            auto_augment=a.auto_augment,
            re_prob=a.erase,
            re_mode=a.erase_mode,
        )
        return self._loader("train", transform, train=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val", self.plain_transform())

    def test_dataloader(self) -> DataLoader:
        return self._loader("test", self.plain_transform())

    def predict_dataloader(self) -> DataLoader:
        """Every image below `data_dir`, in the order of `files_below`; labels are not asked for."""
        return DataLoader(PlainImages(files_below(self.data_dir), self.plain_transform()), batch_size=self.batch_size)

    def plain_transform(self) -> Any:
        """timm's evaluation transform for the network."""
        return create_transform(**self._data_config(), is_training=False)

    def _data_config(self) -> dict[str, Any]:
        config = self.trainer.lightning_module.data_config()
        return {key: config[key] for key in ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")}

    def _open_training(self) -> None:
        images = self._opened(self.train_split, training=True)
        if self.val_split is not None:
            self.images["val"] = self._opened(self.val_split)
        if is_streamed(self.dataset):
            self.images["train"] = images
            return
        kept = np.arange(len(images))
        if self.val_split is None:
            kept, held = split_off(len(images), self.val_fraction, seed=self.split_seed)
            if not len(held) or not len(kept):
                raise ValueError(
                    f"Expected images to train on and to validate on but {self.val_fraction} of {len(images)} leaves "
                    f"{len(kept)} and {len(held)}"
                )
            self.images["val"] = Subset(images, held)
        if self.subset is not None:
            if not 0 < self.subset <= len(kept):
                raise ValueError(f"Expected subset to be 1 to {len(kept)} training images but got {self.subset}")
            kept = kept[np.random.default_rng(self.split_seed).permutation(len(kept))[: self.subset]]
        self.images["train"] = Subset(images, kept, cache=self.cache)

    def _opened(self, split: str, *, training: bool = False) -> Any:
        images: Any
        if is_streamed(self.dataset):
            images = StreamedImages(
                self.dataset,
                self.data_dir,
                split,
                training=training,
                batch_size=self.batch_size,
                seed=self._seed(),
                **self.dataset_args,
            )
        elif self.dataset:
            images = TimmImages(self.dataset, self.data_dir, split, **self.dataset_args)
        else:
            images = FolderImages(folder_of(self.data_dir, split), on_bad=self.on_bad, label_names=self.label_names)
            self.skipped += images.skipped
            self._tell_skipped(images.skipped)
        if self.label_names and images.label_names and images.label_names != self.label_names:
            odd = sorted(set(images.label_names) ^ set(self.label_names))
            raise ValueError(f"Expected the same classes in every split but {split!r} differs in {', '.join(odd[:8])}")
        self.label_names = self.label_names or images.label_names
        if not self.label_names:
            raise ValueError(f"Expected class_names for {self.dataset!r}, which does not name its classes")
        return images

    @rank_zero_only
    def _tell_skipped(self, skipped: tuple[tuple[str, str], ...]) -> None:
        for name, reason in skipped:
            print(f"skipped {name}: {reason}")

    def _seed(self) -> int:
        # by default what seed_everything was given, which torch remembers
        return torch.initial_seed() % 2**31 if self.seed is None else self.seed

    def _loader(self, name: str, transform: Any, *, train: bool = False) -> DataLoader:
        images, trainer = self.images[name], self.trainer
        options = {
            "batch_size": self.batch_size,
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # the workers' seeds: not from torch's global generator
            "generator": torch.Generator().manual_seed(self._seed()),
        }
        if is_streamed(self.dataset):
            return DataLoader(images.through(transform, workers=self.workers), drop_last=train, **options)
        ranks = trainer.world_size
        sampler = EpochSampler(len(images), seed=self._seed(), shuffle=train, rank=trainer.global_rank, ranks=ranks)
        full = train and len(sampler) >= self.batch_size
        return DataLoader(SeededDataset(images, transform), sampler=sampler, drop_last=full, **options)


class PlainImages:
    """Pictures by path, without labels."""

    def __init__(self, files: list[Path], transform: Any):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(read_rgb(self.files[index]))


def files_below(folder: str | Path) -> list[Path]:
    """Every picture in a folder, at any depth, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise FileNotFoundError(f"Expected images in {str(folder)!r} but found none")
    return files
