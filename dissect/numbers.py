"""Numbers as people read them."""

from collections.abc import Sequence
from math import floor

MINUS = "\N{MINUS SIGN}"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, and never minus nothing.

    >>> signed(1.234), signed(-1.234), signed(-0.001)
    ('+1.23', '−1.23', '0.00')
    """
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else ("+" if value > 0 else MINUS) + text


def loss(value: float) -> str:
    """What a lead does that loses `value`: losing less than nothing is gaining.

    >>> loss(1.234), loss(-1.234), loss(-0.001)
    ('loses 1.23', 'gains 1.23', 'loses 0.00')
    """
    size = f"{abs(value):.2f}"
    return f"{'gains' if value < 0 and float(size) else 'loses'} {size}"


def percent(share: float, digits: int | None = None) -> str:
    """A share in percent: by default with a digit after the point only where it says something.

    >>> percent(0.934), percent(0.0312), percent(0.0004), percent(1.0), percent(0.125, 1)
    ('93 %', '3.1 %', '0.04 %', '100 %', '12.5 %')
    """
    value = 100 * share
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 9.95 or size == 0 else 1 if size >= 0.095 else 2
    return f"{value:.{digits}f} %".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(7.31), duration(42), duration(185), duration(7300)
    ('7.3 s', '42 s', '3 min 5 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def add_up(parts: Sequence[float], digits: int = 2) -> list[float]:
    """`parts` rounded to `digits` so that they add up to their rounded sum: the largest remainders are rounded up.

    Each stays within one unit of the last digit of its value.

    >>> add_up([0.014, 0.014, 0.013])
    [0.02, 0.01, 0.01]
    """
    unit = 10**digits
    floors = [floor(part * unit) for part in parts]
    missing = round(sum(parts) * unit) - sum(floors)
    by_remainder = sorted(range(len(parts)), key=lambda i: floors[i] - parts[i] * unit)
    for i in by_remainder[: max(missing, 0)]:
        floors[i] += 1
    return [value / unit for value in floors]
