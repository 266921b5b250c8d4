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
NAMED = 5


def compute_warnings(said: Array, counted: Array, rows: list[int], column: str, product: str) -> list[str]:
    """`said`: the table's compute, nan where it has none; `counted`: size x tokens; `rows`: data rows from 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(said / counted)
    known = np.flatnonzero(np.isfinite(logs))
    if len(known) < 3:
        return []
    logs = logs[known]
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    off = np.abs(logs) > math.log(OFF)
    if not off.any():
        return []
    if abs(middle) > math.log(OFF) and spread < SHARED:
        return [
            f"`{column}` is {times(middle)} {product} in {int((np.abs(logs - middle) < 1).sum())} of {len(known)} rows:"
            " is it in another unit, or is the size or the tokens? Compute is counted from size and tokens"
        ]
    first = ", ".join(str(rows[k]) for k in known[off][:NAMED]) + (", ..." if off.sum() > NAMED else "")
    return [
        f"`{column}` is more than {OFF:g}x off {product} in {int(off.sum())} of {len(known)} rows, from"
        f" {times(logs.min())} to {times(logs.max())} it (rows {first}): which of size, tokens and compute is wrong"
        " there?"
    ]


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
