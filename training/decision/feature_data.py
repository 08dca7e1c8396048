"""The features of a data module's pictures in their place: what a frozen backbone's decision layer sees."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from ..data import ImageData
from ..sampling import EpochSampler
from .fitting import moments
from .store import Pass, StoredFeatures, stored_features


class FeatureData(LightningDataModule):
    """Batches of features and labels of `images`, computed once and stored below `root`.

    Args:
        views: 1: each picture as it is evaluated; more: so many augmented views of each training picture.
    """

    def __init__(self, images: ImageData, root: Path, *, views: int = 1):
        super().__init__()
        if images.augmentation.mixes:
            raise ValueError("Expected no mixup and cutmix for train='decision': a frozen backbone sees whole pictures")
        self.images, self.root, self.views = images, root, views
        self.loading, self.augmentation = images.loading, images.augmentation
        self.options = images.options
        self.stored: dict[str, StoredFeatures] = {}

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.images.label_names

    @property
    def num_classes(self) -> int:
        return self.images.num_classes

    def setup(self, stage: str | None = None) -> None:
        self.images.trainer = self.trainer
        self.images.setup(stage)

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", train=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training features."""
        return moments(self._stored("train").shards)

    def whole(self, split: str) -> tuple[Tensor, Tensor]:
        """All features of a split in half precision, and their labels."""
        stored = self._stored(split)
        return torch.cat(stored.shards), stored.labels

    def _stored(self, split: str) -> StoredFeatures:
        if split in self.stored:
            return self.stored[split]
        model: Any = self.trainer.lightning_module.model
        views = self.views if split == "train" else 1
        transform = self.images.train_transform() if views > 1 else self.images.plain_transform()
        loading = self.loading
        how = Pass(
            views, self.images.order_seed(), loading.batch_size, loading.workers, skip_bad=loading.on_bad == "skip"
        )
        # the first of several processes computes them; the others wait for its lock on the folder, for as long as it
        # takes: a barrier gives up after half an hour
        self.stored[split] = stored_features(model, self.images.images[split], transform, self.root, how)
        return self.stored[split]

    def _loader(self, split: str, *, train: bool = False) -> DataLoader:
        stored, trainer = self._stored(split), self.trainer
        sampler = EpochSampler(
            len(stored),
            seed=self.images.order_seed(),
            shuffle=train,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        batches = _EpochBatches(
            sampler, self.loading.batch_size, drop_last=train and len(sampler) >= self.loading.batch_size
        )
        generator = torch.Generator().manual_seed(self.images.order_seed())
        return DataLoader(stored, sampler=batches, batch_size=None, generator=generator)


class _EpochBatches(BatchSampler):
    """Batches of an `EpochSampler` that is told the epoch, as Lightning tells it."""

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
