"""Options, checked where they are read: what is unknown or out of bounds is refused with its name. No torch."""

import math
from typing import Any

from .names import nearest


def check_number(
    what: str, value: Any, *, least: float | None = None, above: float | None = None, most: float | None = None
) -> None:
    """Refuse a `value` that is no finite number within its bounds.

    >>> check_number("lr", -1, least=0)
    Traceback (most recent call last):
    ValueError: Expected lr to be a number >= 0 but got -1
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    low = -math.inf if least is None else least
    high = math.inf if most is None else most
    if not number or not low <= value <= high or (above is not None and value <= above):
        bounds = {">=": least, ">": above, "<=": most}
        words = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)
        raise ValueError(f"Expected {what} to be a number {words} but got {value!r}")


def check_choice(what: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a `value` that is none of `known`; the nearest is offered."""
    if value not in known:
        raise ValueError(
            f"Expected {what} to be one of {', '.join(known)} but got {value!r}{nearest(str(value), known)}"
        )
