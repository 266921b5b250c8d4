"""Losses of some rows in bits and of others in nats: one group lies 1.4427 times above the law of the other.

A bit is 0.6931 nats, whatever the text and the tokenizer. So where rows of one column fall into two groups, each on one
surface, with ln(1.4427) between them and nothing in the gap, they are of two units, and no law of both is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from forescale.scaling.outline import features, least_absolute, spread

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BIT = -math.log(math.log(2.0))
"""ln(bits / nats) of one and the same loss, 0.3665."""
NEAR = 0.02
"""How far from it, in ln loss, the offset between the groups may come out."""
FEWEST_ROWS, FEWEST_GROUP, LEAST_SHARE = 10, 3, 0.05
"""Rows of a table, rows of a group, and its share of them, below which two groups are not told from bad runs (two of
Chinchilla's 245 points lie 44% above the law, and are not in bits)."""
BETTER = 3.0
"""How many times closer the surface must lie with the offset than without."""
GAP = (0.3, 0.7)
"""The part of the offset that must be empty but for this share of the smaller group."""
IN_GAP = 0.1
ROUNDS = 10


def rows_in_bits(size: Array, tokens: Array, loss: Array) -> tuple[Bools, float] | None:
    """Which rows lie a factor of 1.4427 above the surface of the others, and the factor found; None where none do."""
    if len(loss) < FEWEST_ROWS:
        return None
    terms, log_loss = features(np.log(size), np.log(tokens)), np.log(loss)
    plain = log_loss - terms @ least_absolute(terms, log_loss)
    best: tuple[float, Bools] | None = None
    for start in _starts(size * tokens, log_loss):
        group, away = _settled(terms, log_loss, start)
        if best is None or away < best[0]:
            best = away, group
    assert best is not None
    group = best[1]
    few = int(min(group.sum(), (~group).sum()))
    if few < max(FEWEST_GROUP, LEAST_SHARE * len(group)):
        return None
    # The offset itself is free now: it must come out as a bit's.
    joint = np.column_stack((terms, group.astype(float)))
    found = least_absolute(joint, log_loss)
    left = log_loss - terms @ found[:-1]
    between = (left > GAP[0] * BIT) & (left < GAP[1] * BIT)
    if abs(found[-1] - BIT) > NEAR or between.sum() > IN_GAP * few:
        return None
    smaller = group if group.sum() == few else ~group
    with_offset = left - found[-1] * group
    if BETTER * max(spread(with_offset), spread(with_offset[smaller])) > max(spread(plain), spread(plain[smaller])):
        return None
    return group, float(np.exp(found[-1]))


def column_that_tells(rows: Sequence[Mapping[str, object]], group: Bools) -> tuple[str, str, str] | None:
    """A column whose values are one in the rows of the group and another in the rest: its name and both values."""
    for name in rows[0] if rows else ():
        inside = {str(row.get(name) or "").strip() for row, of in zip(rows, group, strict=True) if of}
        outside = {str(row.get(name) or "").strip() for row, of in zip(rows, group, strict=True) if not of}
        if len(inside) == len(outside) == 1 and inside != outside and "" not in inside | outside:
            return name.removeprefix("\0"), inside.pop(), outside.pop()
    return None


def _starts(compute: Array, log_loss: Array) -> Iterator[Bools]:
    """Groups to begin with: the highest losses of each stretch of compute, and everything above or below a compute."""
    order = np.argsort(compute, kind="stable")
    for pieces in (1, 4, 8):
        group = np.zeros(len(order), dtype=bool)
        for piece in np.array_split(order, pieces):
            logs = log_loss[piece]
            group[piece] = logs > (logs.min() + logs.max()) / 2 if np.ptp(logs) > BIT / 2 else False
        yield group
    for share in (0.2, 0.35, 0.5, 0.65, 0.8):
        upper = compute > np.quantile(compute, share)
        yield upper
        yield ~upper


def _settled(terms: Array, log_loss: Array, group: Bools) -> tuple[Bools, float]:
    """Surface and groups in turn, until neither changes; and how far on average the rows lie from it then."""
    for _ in range(ROUNDS):
        fitted = terms @ least_absolute(terms, log_loss - BIT * group)
        new = log_loss - fitted > BIT / 2
        if (new == group).all():
            break
        group = new
    left = log_loss - BIT * group - terms @ least_absolute(terms, log_loss - BIT * group)
    return group, float(np.abs(left).mean())
