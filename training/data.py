"""The images a network trains on, as a LightningDataModule."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from timm.data import create_transform
from torch.utils.data import DataLoader

from competition_layers.pictures import EXTENSIONS, read_rgb

from .images import LabelledImages, OnBad, Subset, open_images, split_off
from .sampling import EpochSampler, SeededDataset


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image, in timm's words; `mixup` and the like to a batch.

    Args:
        scale, ratio: of the random crop's area and aspect.
        auto_augment: a policy such as `rand-m9-mstd0.5-inc1`; it takes the place of `color_jitter`.
        erase: probability of random erasing.
        mixup, cutmix: strengths (alpha); `mix_probability` of a batch being mixed at all.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    flip: float = 0.5
    color_jitter: float = 0.0
    auto_augment: str | None = None
    interpolation: str = "random"
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
        val_split: by default `val_fraction` of the training images are held out by `split_seed` instead.
        subset: train on so many of the training images, drawn by `split_seed`.
        on_bad: unreadable files are refused by name, skipped by name, or not looked for (`trust`).
        cache: keep decoded training images in memory (small images, few workers).
        seed: of order and augmentation; by default that of the run.
    """

    def __init__(
        self,
        data_dir: str = "",
        dataset: str = "",
        *,
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
        seed: int | None = None,
    ):
        super().__init__()
        if not data_dir and not dataset:
            raise ValueError("Expected data_dir (a folder of images) or dataset (a timm name) but got neither")
        if val_split is None and not 0 < val_fraction < 1:
            raise ValueError(f"Expected val_fraction between 0 and 1 but got {val_fraction}")
        self.open = partial(open_images, dataset, data_dir, on_bad=on_bad, download=download)
        self.data_dir, self.batch_size, self.workers = data_dir, batch_size, workers
        self.train_split, self.val_split, self.test_split = train_split, val_split, test_split
        self.val_fraction, self.split_seed, self.subset = val_fraction, split_seed, subset
        self.augmentation, self.cache, self.seed = augmentation, cache, seed
        self.label_names: tuple[str, ...] = ()
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.images: dict[str, LabelledImages] = {}

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    def setup(self, stage: str | None = None) -> None:
        """Open what the stage needs; afterwards `label_names` is known."""
        if stage in (None, "fit", "validate") and "train" not in self.images:
            self._open_training()
        if stage in (None, "test") and "test" not in self.images:
            if self.test_split is None:
                raise ValueError("Expected test_split to name the test images but got none")
            self.images["test"] = self._opened(self.test_split)

    def _open_training(self) -> None:
        images = self._opened(self.train_split)
        kept = np.arange(len(images))
        if self.val_split is None:
            kept, held = split_off(len(images), self.val_fraction, seed=self.split_seed)
            self.images["val"] = Subset(images, held)
        else:
            self.images["val"] = self._opened(self.val_split)
        if self.subset is not None:
            if self.subset > len(kept):
                raise ValueError(f"Expected subset to be at most the {len(kept)} training images but got {self.subset}")
            kept = kept[np.random.default_rng(self.split_seed).permutation(len(kept))[: self.subset]]
        self.images["train"] = Subset(images, kept, cache=self.cache)

    def _opened(self, split: str) -> LabelledImages:
        images = self.open(split)
        self.skipped += getattr(images, "skipped", ())
        if self.label_names and images.label_names and images.label_names != self.label_names:
            odd = sorted(set(images.label_names) ^ set(self.label_names))
            raise ValueError(f"Expected the same classes in every split but {split!r} differs in {', '.join(odd[:8])}")
        self.label_names = self.label_names or images.label_names
        return images

    def train_dataloader(self) -> DataLoader:
        a = self.augmentation
        transform = create_transform(
            **self._data_config(),
            is_training=True,
            scale=a.scale,
            ratio=a.ratio,
            hflip=a.flip,
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
        config = dict(self.trainer.lightning_module.data_config())
        interpolation = {"interpolation": self.augmentation.interpolation}
        return {k: config[k] for k in ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")} | (
            interpolation if self.augmentation.interpolation != "random" else {}
        )

    def _loader(self, name: str, transform: Any, *, train: bool = False) -> DataLoader:
        images = self.images[name]
        seed = int(torch.initial_seed() % 2**31) if self.seed is None else self.seed
        trainer = self.trainer
        sampler = EpochSampler(
            len(images), seed=seed, shuffle=train, rank=trainer.global_rank, ranks=trainer.world_size
        )
        return DataLoader(
            SeededDataset(images, transform),
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            drop_last=train and len(sampler) >= self.batch_size,
            generator=torch.Generator().manual_seed(seed),  # worker seeds: not from torch's global generator
            pin_memory=torch.cuda.is_available(),
        )


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
