"""Systems that describe units, one file each. What they say is weighed by the statistics in `naming/`."""

from collections.abc import Callable, Sequence

from competition_layers.names import nearest

from .concept_matching import ConceptMatching
from .describe_and_dissect import DescribeAndDissect
from .describer import Describer, Probed, Proposals
from .fitting import Fitting
from .milan import Milan
from .milan_free import MilanFree
from .patches import Patches
from .tools import Tools

# a describer more is a file of this folder and a line here
DESCRIBERS: dict[str, Callable[[Tools], Describer]] = {
    "clip-dissect": lambda tools: ConceptMatching(tools.naming),
    "dnd": lambda tools: DescribeAndDissect(*tools.models.of_labels(), tools.scoring),
    "lwta": lambda tools: Fitting(tools.pictures),
    "dnd-coded": lambda tools: DescribeAndDissect(*tools.models.of_labels(), coded=True),
    "milan": lambda tools: Milan(*tools.taught()),
    "milan-free": lambda tools: MilanFree(*tools.likelihoods()),
    "patches": lambda tools: Patches(tools.asked_for_phrases(), tools.domain),
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
    return tuple(DESCRIBERS[name](tools or Tools()) for name in describer_names(names))


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
