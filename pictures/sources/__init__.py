"""Where pictures come from: a file a source, a line in one of the two tables below."""

from collections.abc import Callable
from pathlib import Path

from competition_layers.names import nearest

from .folder import one_file, open_folder
from .listing import Listing, Place
from .named import open_named
from .tar_shards import open_shards
from .tensors import open_tensors

BY_PREFIX: dict[str, Callable[[Place], Listing]] = {"wds": open_shards, "torch": open_named, "hfds": open_named}
BY_SUFFIX: dict[str, Callable[[Place], Listing]] = {".safetensors": open_tensors}


def list_pictures(place: Place) -> Listing:
    """What there is, before any picture is decoded.

    Raises:
        FileNotFoundError: no such source, or no such split of it. ValueError: it holds no pictures.
    """
    path, prefix = Path(place.source), place.source.partition("/")[0].lower()
    tensors = path / f"{place.split}.safetensors"
    if place.split and tensors.is_file():
        return open_tensors(Place(str(tensors)))
    if path.is_dir():
        return open_folder(place)
    if path.exists():
        return BY_SUFFIX.get(path.suffix.lower(), one_file)(place)
    if prefix not in BY_PREFIX:
        named = ", ".join(f"{name}/NAME" for name in BY_PREFIX)
        raise FileNotFoundError(
            f"Expected a folder of images, an image, a safetensors file, {named} but got {place.source!r}, which does "
            f"not exist{nearest(prefix, BY_PREFIX) if '/' in place.source else ''}"
        )
    return BY_PREFIX[prefix](place)
