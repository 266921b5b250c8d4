"""What a figure says, apart from how it is drawn: axes, series, notes. Two renderers read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Role = Literal["ink", "muted", "main", "accent", "good", "bad"] | int
"""A colour by meaning, or the n-th of an ordered scale (budgets, runs). Renderers hold the colours."""


@dataclass(frozen=True)
class Axis:
    """One axis. `log` is base 10; `names` makes it categorical; `bounds` are data values."""

    label: str
    log: bool = False
    names: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    form: Literal["number", "percent"] = "number"


@dataclass(frozen=True)
class Points:
    """Marks, each with hover text and the run it belongs to; error bars where `low` and `high` (`left` and `right`)
    are given."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: Role = "main"
    hover: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    left: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    mark: Literal["dot", "ring", "star", "diamond", "small"] = "dot"
    text: tuple[str, ...] = ()
    """Words printed beside each mark."""


@dataclass(frozen=True)
class Shaded:
    """Marks whose colour is a value: a response over two settings."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    value: tuple[float, ...]
    unit: str
    hover: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    cap: float | None = None
    """Values above share the last colour."""


@dataclass(frozen=True)
class Line:
    """A curve through points."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: Role = "main"
    dash: bool = False
    hover: tuple[str, ...] = ()


@dataclass(frozen=True)
class Band:
    """The space between two curves: an interval along x."""

    label: str
    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    role: Role = "main"


@dataclass(frozen=True)
class Grid:
    """A full grid of cells, each with its value printed; rows run along y."""

    label: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    value: tuple[tuple[float, ...], ...]
    unit: str
    printed: tuple[tuple[str, ...], ...]
    hover: tuple[tuple[str, ...], ...] = ()
    cap: float | None = None


@dataclass(frozen=True)
class Bars:
    """Bars over names, from `base` (0 where empty); `printed` is written at each bar's end."""

    label: str
    names: tuple[str, ...]
    value: tuple[float, ...]
    base: tuple[float, ...] = ()
    roles: tuple[Role, ...] = ()
    printed: tuple[str, ...] = ()
    hover: tuple[str, ...] = ()
    across: bool = False
    """True: the bars lie down."""

    @property
    def colours(self) -> tuple[Role, ...]:
        """One role a bar."""
        if self.roles:
            return self.roles
        main: Role = "main"
        return (main,) * len(self.value)


Series = Points | Shaded | Line | Band | Grid | Bars


@dataclass(frozen=True)
class Note:
    """Words at a place of the plot."""

    text: str
    x: float
    y: float
    below: bool = False


@dataclass(frozen=True)
class Rule:
    """A thin line across the plot at one x (upright) or one y."""

    at: float
    text: str = ""
    upright: bool = True


@dataclass(frozen=True)
class Figure:
    """A figure: one pair of axes, what lies on them, and the sentence that says what it means."""

    name: str
    """File name without ending, and anchor on the page."""
    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    notes: tuple[Note, ...] = ()
    rules: tuple[Rule, ...] = ()
    height: int = 380
    """CSS pixels on the page."""
    legend: bool = True
    wide: bool = False
    """True: takes the page's full width."""

    def table(self, limit: int = 400) -> list[tuple[str, str, str]]:
        """The numbers drawn, as rows (series, x, y): for readers who cannot see the plot, and for copying."""
        rows = list(_rows(self.series))
        return rows[:limit]


def _rows(series: tuple[Series, ...]) -> Iterator[tuple[str, str, str]]:
    for one in series:
        match one:
            case Points() | Shaded():
                names = one.runs or ("",) * len(one.x)
                for name, x, y in zip(names, one.x, one.y, strict=True):
                    yield (" · ".join(filter(None, (one.label, name))), number(x), number(y))
            case Line() if len(one.x) <= 64:
                yield from ((one.label, number(x), number(y)) for x, y in zip(one.x, one.y, strict=True))
            case Line():
                step = max(1, len(one.x) // 32)
                yield from ((one.label, number(one.x[i]), number(one.y[i])) for i in range(0, len(one.x), step))
            case Band():
                step = max(1, len(one.x) // 16)
                for i in range(0, len(one.x), step):
                    yield one.label, number(one.x[i]), f"{number(one.low[i])} to {number(one.high[i])}"
            case Grid():
                for j, row in enumerate(one.printed):
                    yield from ((one.label, one.x[i], f"{one.y[j]}: {cell}") for i, cell in enumerate(row))
            case Bars():
                shown = one.printed or tuple(number(v) for v in one.value)
                yield from ((one.label, name, text) for name, text in zip(one.names, shown, strict=True))


def number(value: float | None, digits: int = 4) -> str:
    """A number as people read it: 4 significant digits, powers of ten only where they help.

    >>> number(0.012345), number(1234567.0), number(3.2e-7), number(None)
    ('0.01235', '1.235e6', '3.2e-7', '–')
    """
    if value is None or value != value:
        return "–"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:.{digits}g}"
        return f"{value:,.0f}" if "e" in text or abs(value) >= 10 ** (digits - 1) else text
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def percent(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A fraction in percent: `percent(0.0123)` is 1.23%."""
    if value is None or value != value:
        return "–"
    return f"{100 * value:{'+' if sign else ''}.{digits}f}%".replace("-", "−")


def thousands(value: float | None) -> str:
    """A count with separators up to a million, then with a word of scale.

    >>> thousands(12345), thousands(33_400_000), thousands(2.1e12)
    ('12,345', '33.4 M', '2.1 T')
    """
    if value is None or value != value:
        return "–"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:,.0f}"
