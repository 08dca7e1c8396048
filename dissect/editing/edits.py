"""An edit: what is done with one unit of one layer, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from competition_layers.names import match_names, nearest

from ..folder.dissection import Dissection
from ..naming.synonyms import plain_form

Do = Literal["off", "scale", "clamp", "rename"]
_KEYS: dict[str, tuple[str, ...]] = {"off": (), "scale": ("factor",), "clamp": ("low", "high"), "rename": ("to",)}


@dataclass(frozen=True)
class Edit:
    """What is done with one unit.

    `off`: it says nothing. `scale`: what it says times `factor`. `clamp`: what it says stays between `low` and `high`
    (None: no limit). `rename`: it is called `to`. The unit wins where it won before: see `competition_layers.gates`.

    Args:
        layer, unit: the activation's dotted name, and the 0-based channel in the saved model.
        name: by which it was found, if it was.
        why: for people.

    Raises:
        ValueError: an unknown kind, numbers that are missing, not finite or not asked for.
    """

    layer: str
    unit: int
    do: Do = "off"
    factor: float | None = None
    low: float | None = None
    high: float | None = None
    to: str = ""
    name: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.do not in get_args(Do):
            raise ValueError(f"Expected do to be {', '.join(map(repr, get_args(Do)))} but got {self.do!r}")
        if type(self.unit) is not int or self.unit < 0:
            raise ValueError(f"Expected a unit's number, 0 or more, but got {self.unit!r}")
        given = {key: getattr(self, key) for key in ("factor", "low", "high", "to")}
        strange = [key for key, value in given.items() if value not in (None, "") and key not in _KEYS[self.do]]
        if strange:
            raise ValueError(f"Expected no {strange[0]} in an edit of kind {self.do!r} ({self._where}) but got one")
        for key, value in given.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if key != "to" and value is not None and not number:
                raise ValueError(f"Expected a finite {key} for {self._where} but got {value!r}")
        if all(given[key] in (None, "") for key in _KEYS[self.do]) and _KEYS[self.do]:
            raise ValueError(f"Expected {' or '.join(_KEYS[self.do])} with {self.do!r} of {self._where} but got none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"Expected low <= high for {self._where} but got {self.low:g} and {self.high:g}")

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a file: only what is said."""
        return {key: value for key, value in vars(self).items() if value not in (None, "")}

    @property
    def _where(self) -> str:
        return f"unit {self.unit} of {self.layer!r}"


def units_named(dissection: Dissection, name: str, *, layers: str | Sequence[str] = "*") -> list[tuple[str, int]]:
    """The units that a dissection calls `name`: layer and number. Article, plural and capitals do not count.

    Args:
        layers: globs on the dissection's layers.

    Raises:
        ValueError: no unit of this name (the nearest name is offered), or no such layer.
    """
    where = match_names(layers, dissection.layers, what="layer of the dissection")
    names: dict[str, list[tuple[str, int]]] = {}
    known = []
    for layer in where:
        for unit in range(dissection.units(layer)):
            found = dissection.description(layer, unit).description
            if found:
                names.setdefault(plain_form(found), []).append((layer, unit))
                known.append(found)
    if plain_form(name) not in names:
        holding = sorted({one for one in known if plain_form(name) in plain_form(one)})[:5]
        offered = f" (with that word: {', '.join(map(repr, holding))})" if holding else nearest(name, known)
        raise ValueError(
            f"Expected a name that a unit of {', '.join(where)} has but got {name!r}{offered}; "
            "`lwta find` lists units that answer to a phrase, whatever they are called"
        )
    return names[plain_form(name)]


def switched_off(
    dissection: Dissection, names: Sequence[str], *, layers: str | Sequence[str] = "*"
) -> tuple[Edit, ...]:
    """An edit `off` for each unit that a dissection calls by one of `names`, see `units_named`."""
    found = {place: name for name in names for place in units_named(dissection, name, layers=layers)}
    return tuple(Edit(layer, unit, name=name) for (layer, unit), name in found.items())
