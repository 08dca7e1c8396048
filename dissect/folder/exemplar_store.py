"""A layer's exemplars as they lie in a dissection: made once, then read."""

from collections.abc import Callable

from ..exemplars.exemplar_set import ExemplarSet
from .layout import Layout
from .tensors import load_tensors, save_tensors


def stored_exemplars(layout: Layout, layer: str, key: str, make: Callable[[], ExemplarSet]) -> ExemplarSet:
    """The exemplars under `key`, what they are made from; what `make` gives where there are none."""
    flat = load_tensors(layout.exemplar_set(layer), key=key)
    if flat is not None:
        return ExemplarSet.from_tensors(flat)
    made = make()
    save_tensors(layout.exemplar_set(layer), made.tensors(), key=key)
    return made
