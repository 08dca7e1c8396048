"""Systems that describe units, one file each. What they say is weighed by the statistics in `naming/`."""

from collections.abc import Sequence
from importlib import import_module

from competition_layers.names import nearest

from .describer import Describer, Probed, Proposals
from .tools import Tools

# a describer more is a file of this folder, with a function that makes it with `Tools`, and a line here
DESCRIBERS = {
    "clip-dissect": "concept_matching.from_tools",
    "dnd": "describe_and_dissect.from_tools",
    "lwta": "fitting.from_tools",
    "dnd-coded": "describe_and_dissect.coded_from_tools",
    "milan": "milan.from_tools",
    "milan-free": "milan_free.from_tools",
    "patches": "patches.from_tools",
}
DEFAULT_DESCRIBER = "clip-dissect"

__all__ = ["DEFAULT_DESCRIBER", "DESCRIBERS", "Describer", "Probed", "Proposals", "Tools", "load_describers"]


def load_describers(names: str | Sequence[str], tools: Tools | None = None) -> tuple[Describer, ...]:
    """Describers by name (`a,b` or a list), in this order; the first one's candidates become the names.

    Raises:
        ValueError: an unknown name (the nearest is offered), one named twice, or none.

    >>> [describer.method for describer in load_describers("clip-dissect")]
    ['clip-dissect']
    """
    return tuple(_made(DESCRIBERS[name], tools or Tools()) for name in describer_names(names))


def describer_names(names: str | Sequence[str]) -> list[str]:
    """The names in `a,b` or a list, checked; nothing is loaded."""
    asked = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for name in asked:
        if name not in DESCRIBERS:
            known = ", ".join(DESCRIBERS)
            raise ValueError(f"Expected a describer among {known} but got {name!r}{nearest(name, DESCRIBERS)}")
    if not asked or len(set(asked)) < len(asked):
        raise ValueError(f"Expected describers, each once, but got {', '.join(asked) or 'none'}")
    return asked


def _made(where: str, tools: Tools) -> Describer:
    file, _, function = where.partition(".")
    made: Describer = getattr(import_module(f".{file}", __name__), function)(tools)
    return made
