"""The images a network trains on, as a LightningDataModule."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader

from competition_layers.transforms import plain_transform, training_transform
from pictures import Pictures, Place, open_pictures, print_skipped
from pictures.sources.listing import Reasons

from .configuration import options_of
from .data_options import Augmentation, Loading, NamedDataset, Splits
from .labelled import LabelledPictures, PlainPictures, split_off
from .moved import MOVED
from .sampling import EpochSampler, SeededDataset
from .streams import StreamedImages

_GROUPS: dict[str, Any] = {
    "dataset": NamedDataset,
    "splits": Splits,
    "loading": Loading,
    "augmentation": Augmentation,
}


class ImageData(LightningDataModule):
    """Folders (`data_dir/train/CLASS/*.jpg`) or any named data set, with the transforms of the model's own config.

    Args:
        data_dir: holds one folder (or FILE.safetensors) a split, or is the root that the named `dataset` asks for.
        dataset: a data set by timm's name.
        splits: which images train, validate and test.
        loading: batches, workers, what happens to unreadable files.
        augmentation: what happens to training images.
        seed: of order and augmentation; by default that of the run.
    """

    def __init__(
        self,
        data_dir: str = "",
        *,
        dataset: NamedDataset = NamedDataset(),  # noqa: B008
        splits: Splits = Splits(),  # noqa: B008
        loading: Loading = Loading(),  # noqa: B008
        augmentation: Augmentation = Augmentation(),  # noqa: B008
        seed: int | None = None,
    ):
        options = options_of(locals())
        super().__init__()
        self.options = options
        if not data_dir and not dataset.name:
            raise ValueError("Expected data_dir (a folder of images) or dataset.name (a timm name) but got neither")
        if dataset.streamed and (splits.val is None or splits.subset is not None or splits.wrong_labels):
            raise ValueError(
                f"Expected splits.val, no subset and no wrong_labels for {dataset.name!r}: a stream cannot be split by "
                "index"
            )
        self.data_dir, self.dataset, self.splits, self.loading = data_dir, dataset, splits, loading
        self.augmentation, self.seed = augmentation, seed
        self.label_names: tuple[str, ...] = tuple(dataset.class_names)
        self.skipped: Reasons = ()
        self.images: dict[str, Any] = {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "ImageData":
        """From plain values, as a run's config.yaml has them under `data`."""
        for old in options:
            new = MOVED.get(f"data.{old}", "").removeprefix("data.")
            if new and (old not in _GROUPS or not isinstance(options[old], Mapping)):
                raise ValueError(f"Expected {new!r} but got {old!r}, as it was called before")
        made = {
            name: _GROUPS[name](**value) if name in _GROUPS and isinstance(value, Mapping) else value
            for name, value in options.items()
        }
        return cls(**made)

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
            if self.splits.test is None:
                raise ValueError("Expected splits.test to name the test images but got none")
            self.images["test"] = self._opened(self.splits.test)
        if stage == "predict":
            self.images["predict"] = self._checked(open_pictures(self.data_dir))

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", self.train_transform(), train=True)

    def train_transform(self) -> Any:
        """timm's training transform for the network, as `augmentation` says."""
        a = self.augmentation
        return training_transform(
            self.trainer.lightning_module.model,
            interpolation=a.interpolation,
            scale=a.scale,
            ratio=a.ratio,
            hflip=a.flip,
            vflip=a.vertical_flip,
            color_jitter=a.color_jitter,
            auto_augment=a.auto_augment,
            re_prob=a.erase,
            re_mode=a.erase_mode,
        )

    def val_dataloader(self) -> DataLoader:
        return self._loader("val", self.plain_transform())

    def test_dataloader(self) -> DataLoader:
        return self._loader("test", self.plain_transform())

    def predict_dataloader(self) -> DataLoader:
        """Every readable image of the source `data_dir`, in the order of names; classes are not asked for."""
        images = PlainPictures(self.images["predict"], self.plain_transform())
        return DataLoader(images, batch_size=self.loading.batch_size)

    def plain_transform(self) -> Any:
        """The network's transform in evaluation."""
        return plain_transform(self.trainer.lightning_module.model)

    def _open_training(self) -> None:
        splits = self.splits
        images = self._opened(splits.train, training=True)
        if self.num_classes < 2:
            raise ValueError(
                f"Expected at least two classes to tell apart but got {self.label_names[0]!r} alone in "
                f"{str(self._place(splits.train))!r}: one folder a class"
            )
        if splits.val is not None:
            self.images["val"] = self._opened(splits.val)
        if self.dataset.streamed:
            self.images["train"] = images
            return
        kept = list(range(len(images)))
        if splits.val is None:
            kept, held = split_off(len(images), splits.val_fraction, seed=splits.seed)
            if not held or not kept:
                raise ValueError(
                    f"Expected images to train on and to validate on but {splits.val_fraction} of {len(images)} leaves "
                    f"{len(kept)} and {len(held)}"
                )
            self.images["val"] = images.some(held)
        if splits.subset is not None:
            if not 0 < splits.subset <= len(kept):
                raise ValueError(f"Expected subset to be 1 to {len(kept)} training images but got {splits.subset}")
            drawn = np.random.default_rng(splits.seed).permutation(len(kept))[: splits.subset]
            kept = [kept[i] for i in drawn]
        learnt = images.some(kept, cache=self.loading.cache)
        self.images["train"] = learnt.with_wrong(splits.wrong_labels, classes=self.num_classes, seed=splits.seed)

    def _opened(self, split: str, *, training: bool = False) -> Any:
        if self.dataset.streamed:
            options = {"is_training": training, "batch_size": self.loading.batch_size, "seed": self.order_seed()}
            images = StreamedImages(self.dataset, self.data_dir, split, **options)
            classes = images.classes
        else:
            pictures = open_pictures(self._place(split), labelled=True, on_bad=self.loading.on_bad)
            classes = self._checked(pictures).classes
        self.label_names = self.label_names or classes
        if not self.label_names:
            raise ValueError(f"Expected class_names for {self.dataset.name!r}, which does not name its classes")
        if self.dataset.streamed:
            return images
        return LabelledPictures(pictures, pictures.numbers(self.label_names, whose="the network in training"))

    def _place(self, split: str) -> Place:
        if not self.dataset.name:
            return Place(self.data_dir, split)
        options = {"download": self.dataset.download, **self.dataset.args}
        return Place(self.dataset.name, split, self.data_dir or ".", options)

    @rank_zero_only
    def _say(self, pictures: Pictures) -> None:
        print_skipped(pictures.skipped)

    def _checked(self, pictures: Pictures) -> Pictures:
        self.skipped += pictures.skipped
        self._say(pictures)
        return pictures

    def order_seed(self) -> int:
        """The seed of order and augmentation."""
        # by default what seed_everything was given, which torch remembers
        return torch.initial_seed() % 2**31 if self.seed is None else self.seed

    def _loader(self, name: str, transform: Any, *, train: bool = False) -> DataLoader:
        images, trainer, loading = self.images[name], self.trainer, self.loading
        options: dict[str, Any] = {
            "batch_size": loading.batch_size,
            "num_workers": loading.workers,
            "persistent_workers": loading.workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # the workers' seeds: not from torch's global generator
            "generator": torch.Generator().manual_seed(self.order_seed()),
        }
        if self.dataset.streamed:
            return DataLoader(images.through(transform, workers=loading.workers), drop_last=train, **options)
        ranks = trainer.world_size
        sampler = EpochSampler(
            len(images), seed=self.order_seed(), shuffle=train, rank=trainer.global_rank, ranks=ranks
        )
        if train:  # full batches alone, and even ones where images are mixed in pairs
            options["batch_size"] = min(loading.batch_size, len(sampler))
            if self.augmentation.mixes:
                options["batch_size"] -= options["batch_size"] % 2
            if not options["batch_size"]:
                raise ValueError(f"Expected at least two training images a process to mix but got {len(sampler)}")
        seen = SeededDataset(images, transform, skip_bad=loading.on_bad == "skip", replace_bad=train)
        return DataLoader(seen, sampler=sampler, drop_last=train, **options)
