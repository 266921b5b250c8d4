"""The table's own compute beside size x tokens: a factor that all rows share, or rows that disagree."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

OFF = 5.0
"""Compute this many times off size x tokens is another unit or another run: counts with attention and recomputed
activations, or parameters with and without embeddings, stay within 3x on public ladders."""
SHARED = 0.3
"""Robust sd of ln(said / counted) below which the rows share one factor."""
COUNTED, EXACT = 1.3, 0.03
"""A factor above the former that all rows share to within the latter (robust sd) is a way of counting. Embeddings and
attention give no such factor: their share changes with the size."""
UNITS = 300.0
"""A factor from which a unit is the likely reason."""
SHARED_FACTOR = " Compute is counted from size and tokens"
"""How the warning about a factor that all rows share ends."""
NAMED = 5


def compute_warnings(logs: Array, rows: list[int], column: str, product: str) -> list[str]:
    """`logs`: ln(the table's compute / size x tokens), nan where it has none; `rows`: data rows from 1."""
    known = np.flatnonzero(np.isfinite(logs))
    if len(known) < 3:
        return []
    logs = logs[known]
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    off = np.abs(logs) > math.log(OFF)
    far = abs(middle) > math.log(OFF)
    if (far and spread < SHARED) or (abs(middle) > math.log(COUNTED) and spread < EXACT):
        alike = int((np.abs(logs - middle) < (1 if far else SHARED)).sum())
        return [
            f"`{column}` is {times(middle)} {product} in {alike} of {len(known)} rows: {_why(middle)}{SHARED_FACTOR}"
        ]
    if not off.any():
        return []
    first = ", ".join(str(rows[k]) for k in known[off][:NAMED]) + (", ..." if off.sum() > NAMED else "")
    return [
        f"`{column}` is more than {OFF:g}x off {product} in {int(off.sum())} of {len(known)} rows, from"
        f" {times(logs.min())} to {times(logs.max())} it (rows {first}): which of size, tokens and compute is wrong"
        " there?"
    ]


def _why(middle: float) -> str:
    """What a factor that all rows share may come from."""
    if middle > math.log(UNITS):
        return "is the size, or are the tokens, in another unit (thousands, millions)?"
    if middle < -math.log(UNITS):
        return "is it in another unit (PFLOPs, PFLOP-days)?"
    if abs(middle) > math.log(OFF):
        return "is it in another unit, or is the size or the tokens?"
    return "is one of them counted another way (2 FLOPs or 1 for a multiply-add, forward only, 6 N D against 3 N D)?"


def labels_as_compute(named: Array, flops: Array) -> Array:
    """Budgets whose numbers are no FLOPs (labels 1, 2, 3; PFLOPs) get their runs' mean compute; others stay.

    Where nearly every run has a number of its own, none is left: runs of like compute are one budget then.
    """
    known = np.isfinite(named) & (named > 0)
    if not known.any() or abs(float(np.median(np.log(named[known] / flops[known])))) <= math.log(OFF):
        return named
    if len(np.unique(named[known])) > known.sum() / 2:
        return np.full_like(named, np.nan)
    result = named.copy()
    for label in np.unique(named[known]):
        members = named == label
        result[members] = np.exp(np.log(flops[members]).mean())
    return result


def times(log_ratio: float) -> str:
    """A factor in words.

    >>> times(math.log(1000)), times(-math.log(1000))
    ('1e+03 x', '1/1e+03 of')
    """
    return f"{math.exp(log_ratio):.3g} x" if log_ratio >= 0 else f"1/{math.exp(-log_ratio):.3g} of"
