"""A layer's exemplars as they lie in a dissection: made once, then read."""

from collections.abc import Callable

from ..exemplars.exemplar_set import ExemplarSet
from .layout import Layout
from .tensors import load_tensors, save_tensors


def stored_exemplars(layout: Layout, layer: str, key: str, make: Callable[[], ExemplarSet]) -> ExemplarSet:
    """The exemplars under `key`, what they are made from; what `make` gives where there are none. Read from the file
    either way: its pages are mapped, and come into memory as they are looked at."""
    path = layout.exemplar_set(layer)
    flat = load_tensors(path, key=key)
    if flat is None:
        save_tensors(path, make().tensors(), key=key)
        flat = load_tensors(path, key=key)
        assert flat is not None
    return ExemplarSet.from_tensors(flat)
