"""Numbers for people: three or four figures and a unit."""

from __future__ import annotations

from typing import Any

UNITS = {"nats_per_token": "nats/token", "bpb": "bits/byte"}


def num(value: Any, digits: int = 4) -> str:
    """A number in few figures; a dash for none.

    >>> num(3.0e12), num(1234), num(0.0012345), num(None)
    ('3e+12', '1,234', '0.001234', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e7):
        return f"{int(value):,}" if abs(value) < 1e10 else f"{float(value):.{digits}g}"
    return f"{value:.{digits}g}"


def percent(value: Any, digits: int = 2, *, sign: bool = False) -> str:
    """A fraction as percent.

    >>> percent(0.0123, sign=True)
    '+1.23%'
    """
    return "–" if value is None else f"{100 * value:{'+' if sign else ''}.{digits}f}%"


def span(value: Any, digits: int = 4) -> str:
    """An interval.

    >>> span([1.9, 2.1])
    '1.9 to 2.1'
    """
    return "–" if not value else f"{num(value[0], digits)} to {num(value[1], digits)}"


def unit(name: Any) -> str:
    """A loss unit in words."""
    return UNITS.get(str(name), str(name))


def duration(seconds: Any) -> str:
    """Seconds as people say them.

    >>> duration(75), duration(2.5), duration(7300)
    ('1 min 15 s', '2.5 s', '2 h 1 min')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def size(count: Any) -> str:
    """Bytes in powers of 1,000.

    >>> size(33_000_000)
    '33.0 MB'
    """
    value = float(count)
    for name in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if name == "B" else f"{value:.1f} {name}"
        value /= 1000
    return f"{value:.1f} TB"


def probability(level: float) -> str:
    """The level of an interval, as it was asked for: 99.9% is not 100%.

    >>> probability(0.9), probability(0.999), probability(0.57)
    ('90%', '99.9%', '57%')
    """
    return f"{100 * level:.6g}%"
