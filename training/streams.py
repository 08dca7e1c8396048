"""A timm data set that is read as it comes: `tfds/...`, `hfids/...`. It shuffles and shards itself."""

from typing import Any

from timm.data import create_dataset

from .data_options import NamedDataset


class StreamedImages:
    """Such a reader draws from generators of its own workers: batches repeat for a seed and a number of workers."""

    classes: tuple[str, ...] = ()  # it does not name them

    def __init__(self, dataset: NamedDataset, root: str, split: str, **options: Any):
        options |= {"download": dataset.download, **dataset.args}
        self.dataset = create_dataset(dataset.name, root=root or None, split=split, **options)

    def __len__(self) -> int:
        return len(self.dataset)

    def through(self, transform: Any, *, workers: int) -> Any:
        """The iterable data set, its pictures transformed."""
        self.dataset.transform = transform
        self.dataset.set_loader_cfg(num_workers=workers)
        return self.dataset
