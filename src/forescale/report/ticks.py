"""Where axes begin, end and are marked: one answer for both renderers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from forescale.report.figure import Axis, Band, Bars, Figure, Grid, Points, Series, thousands


def extent(figure: Figure, side: str) -> tuple[float, float]:
    """Lowest and highest value to show along `side` ("x" or "y"), with a margin; data values, also on log axes."""
    axis: Axis = getattr(figure, side)
    if axis.bounds is not None:
        return axis.bounds
    values = [v for one in figure.series for v in _values(one, side) if math.isfinite(v) and (v > 0 or not axis.log)]
    values += [rule.at for rule in figure.rules if rule.upright == (side == "x")]
    if not values:
        return (1.0, 10.0) if axis.log else (0.0, 1.0)
    low, high = min(values), max(values)
    if axis.log:
        margin = max(0.05 * math.log10(high / low), 0.02)
        return low / 10**margin, high * 10**margin
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    if any(isinstance(one, Bars) for one in figure.series):
        room = 5.5 if any(isinstance(one, Bars) and one.across for one in figure.series) else 2.5
        return min(low, 0.0), high + room * margin  # the printed value stands beyond the bar's end
    return low - margin, high + margin


def _values(one: Series, side: str) -> Iterable[float]:
    match one:
        case Bars():
            base = one.base or (0.0,) * len(one.value)
            if (side == "x") == one.across:
                yield from (b + v for b, v in zip(base, one.value, strict=True))
                yield from base
        case Grid():
            return
        case Band():
            yield from one.x if side == "x" else (*one.low, *one.high)
        case Points():
            yield from (*one.y, *one.low, *one.high) if side == "y" else (*one.x, *one.left, *one.right)
        case _:
            yield from getattr(one, side)


def ticks(axis: Axis, low: float, high: float) -> list[float]:
    """Marked values between two bounds: decades, or 1-2-5 steps where the axis spans few."""
    if not axis.log:
        return _linear(low, high)
    span = math.log10(high / low)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if span >= 2.2:
        step = max(1, math.ceil(span / 6))
        marks = [10.0**n for n in range(first, last + 1) if n % step == 0]
    elif span >= 0.75:
        marks = [m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 5)]
    else:
        return _linear(low, high)
    return [mark for mark in marks if low * 0.999 <= mark <= high * 1.001]


def _linear(low: float, high: float, wanted: int = 5) -> list[float]:
    raw = (high - low) / wanted
    size = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{n * step:.10g}") for n in range(first, math.floor(high / step + 1e-9) + 1)]


def parts(value: float) -> tuple[str, int | None]:
    """A tick's text: mantissa and power of ten; no power between 0.001 and 10,000.

    >>> parts(0.005), parts(1e12), parts(2e6)
    (('0.005', None), ('', 12), ('2', 6))
    """
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.6g}", None
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = f"{value / 10.0**exponent:.3g}"
    return ("" if mantissa == "1" else mantissa), exponent


def labels(axis: Axis, marks: Sequence[float], power: str) -> list[str]:
    """Ticks in words; `power` is how the renderer writes a power of ten, with `{}` for the exponent."""
    if axis.form == "percent":
        return [f"{100 * mark:.6g}%" for mark in marks]
    if not axis.log and max(map(abs, marks), default=0.0) >= 1e4:
        return [thousands(mark) for mark in marks]
    out = []
    for mark in marks:
        mantissa, exponent = parts(mark)
        if exponent is None:
            out.append(mantissa)
        else:
            out.append((f"{mantissa}×" if mantissa else "") + power.format(exponent))
    return out
