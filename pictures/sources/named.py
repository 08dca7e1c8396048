"""A data set that timm makes from its name, with pictures by their place: `torch/cifar10`, `hfds/OWNER/NAME`."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from competition_layers.names import nearest

from ..decoding import Raw
from ..names import readable_name
from .listing import Listing, Place


def open_named(place: Place) -> Listing:
    """Pictures by their index, as their files have them: neither torchvision nor timm decodes them.

    Raises:
        ValueError: an unknown name (the nearest is offered), or options that run code: the sender's of a recipe, too.
        ModuleNotFoundError: a package that the source needs.
    """
    _refuse_code(place)
    from timm.data import create_dataset  # seconds to import, and only these sources need it

    hub = place.source.lower().startswith("hfds/")  # `root` is then a cache: the Hub's own where none is named
    root = None if hub and place.root == "." else place.root
    options = {"root": root, "split": place.split or "validation", **place.options}
    try:
        dataset = create_dataset(place.source, load_bytes=True, input_img_mode=None, **options)
    except AssertionError as error:  # torch/NAME that timm does not know
        name = place.source.partition("/")[2]
        raise ValueError(
            f"Expected torch/NAME but got {place.source!r} ({error}){nearest(name.lower(), _TORCH)}"
        ) from error
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


# of timm's `create_dataset`, beside those that it may learn
_TORCH = (
    *("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist"),
    *("inaturalist", "places365", "imagenet", "image_folder"),
)


def _refuse_code(place: Place) -> None:
    """A data set is data: its loading script and pickles are code of whoever wrote them."""
    if place.options.get("trust_remote_code"):
        raise ValueError(
            f"Expected a data set that is data but trust_remote_code asks {place.source!r} to run its own code; save "
            "it as a folder of pictures with a program of your own"
        )
    class_map = place.options.get("class_map")
    if class_map is not None and not isinstance(class_map, Mapping) and not str(class_map).endswith(".txt"):
        raise ValueError(f"Expected class_map as a mapping or a .txt file, a class a line, but got {class_map!r}")


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
