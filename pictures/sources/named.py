"""A data set that timm makes from its name, with pictures by their place: `torch/cifar10`, `hfds/OWNER/NAME`."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..decoding import Raw
from ..names import readable_name
from .listing import Listing, Place


def open_named(place: Place) -> Listing:
    """Pictures by their index, as their files have them: neither torchvision nor timm decodes them."""
    from timm.data import create_dataset  # seconds to import, and only these sources need it

    hub = place.source.lower().startswith("hfds/")  # `root` is then a cache: the Hub's own where none is named
    root = None if hub and place.root == "." else place.root
    options = {"root": root, "split": place.split or "validation", **place.options}
    try:
        dataset = create_dataset(place.source, load_bytes=True, input_img_mode=None, **options)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Expected the package {error.name!r} for {place.source!r} but it is not installed; "
            f"pip install {error.name}",
            name=error.name,
        ) from error
    if hasattr(dataset, "loader"):  # torchvision's own makes RGB of 16 bits by clipping
        dataset.loader = _content
    targets = tuple(int(target) for target in _targets(dataset))
    names = _class_names(dataset) or [str(number) for number in range(max(targets, default=-1) + 1)]
    digits = len(str(len(dataset) - 1))
    return Listing(
        names=tuple(f"{i:0{digits}d}" for i in range(len(dataset))),
        load=partial(_load, dataset),
        classes=tuple(map(readable_name, names)),
        targets=targets,
    )


def _load(dataset: Any, index: int) -> Raw:
    if hasattr(dataset, "reader"):  # not timm's data set, which gives the next picture in place of one it cannot read
        with dataset.reader[index][0] as file:
            return file.read()
    return dataset[index][0]


def _content(path: str) -> bytes:
    return Path(path).read_bytes()


def _targets(dataset: Any) -> Iterable[Any]:
    """Class numbers, without decoding a picture where the data set lists them."""
    if getattr(dataset, "targets", None) is not None:
        return dataset.targets
    reader = getattr(dataset, "reader", dataset)
    column = getattr(reader, "label_key", None)
    if hasattr(reader, "dataset") and column in getattr(reader.dataset, "column_names", ()):
        return reader.dataset[column]
    return (reader[i][1] for i in range(len(dataset)))


def _class_names(dataset: Any) -> list[str]:
    number_of = getattr(getattr(dataset, "reader", dataset), "class_to_idx", None) or {}
    names = getattr(dataset, "classes", None) or sorted(number_of, key=number_of.__getitem__)
    return [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]  # ImageNet's are synonyms
