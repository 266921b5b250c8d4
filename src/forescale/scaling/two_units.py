"""Losses of some rows in bits and of others in nats: one group lies 1.4427 times above the law of the other.

A bit is 0.6931 nats, whatever the text and the tokenizer. So where rows of one column fall into two groups, each on one
surface, with ln(1.4427) between them and nothing in the gap, they are of two units, and no law of both is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

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
ROUNDS, STEPS = 10, 12


def rows_in_bits(size: Array, tokens: Array, loss: Array) -> tuple[Bools, float] | None:
    """Which rows lie a factor of 1.4427 above the surface of the others, and the factor found; None where none do."""
    if len(loss) < FEWEST_ROWS:
        return None
    features, log_loss = _features(np.log(size), np.log(tokens)), np.log(loss)
    plain = log_loss - features @ _least_absolute(features, log_loss)
    best: tuple[float, Bools] | None = None
    for start in _starts(size * tokens, log_loss):
        group, away = _settled(features, log_loss, start)
        if best is None or away < best[0]:
            best = away, group
    assert best is not None
    group = best[1]
    few = int(min(group.sum(), (~group).sum()))
    if few < max(FEWEST_GROUP, LEAST_SHARE * len(group)):
        return None
    # The offset itself is free now: it must come out as a bit's.
    joint = np.column_stack((features, group.astype(float)))
    found = _least_absolute(joint, log_loss)
    left = log_loss - features @ found[:-1]
    between = (left > GAP[0] * BIT) & (left < GAP[1] * BIT)
    if abs(found[-1] - BIT) > NEAR or between.sum() > IN_GAP * few:
        return None
    smaller = group if group.sum() == few else ~group
    with_offset = left - found[-1] * group
    if BETTER * max(_spread(with_offset), _spread(with_offset[smaller])) > max(_spread(plain), _spread(plain[smaller])):
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


def _features(x: Array, y: Array) -> Array:
    """A quadratic in ln size and ln tokens: enough for a robust outline, and solved at once."""
    a, b = ((v - v.mean()) / max(float(v.std()), 1e-9) for v in (x, y))
    return np.column_stack((np.ones_like(a), a, b, a * a, a * b, b * b))


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


def _settled(features: Array, log_loss: Array, group: Bools) -> tuple[Bools, float]:
    """Surface and groups in turn, until neither changes; and how far on average the rows lie from it then."""
    for _ in range(ROUNDS):
        fitted = features @ _least_absolute(features, log_loss - BIT * group)
        new = log_loss - fitted > BIT / 2
        if (new == group).all():
            break
        group = new
    left = log_loss - BIT * group - features @ _least_absolute(features, log_loss - BIT * group)
    return group, float(np.abs(left).mean())


def _least_absolute(features: Array, values: Array) -> Array:
    """The least absolute deviations, by reweighted least squares, with a touch of ridge for designs on a line."""
    ridge = 1e-6 * len(values) * np.eye(features.shape[1])
    weights: Array = np.ones(len(values))
    solution: Array = np.zeros(features.shape[1])
    for _ in range(STEPS):
        weighted = features * weights[:, None]
        solution = np.asarray(np.linalg.solve(features.T @ weighted + ridge, weighted.T @ values), dtype=np.float64)
        away = np.maximum(np.abs(values - features @ solution), 1e-3)
        weights = np.asarray((1.0 / away) / (1.0 / away).mean())
    return solution


def _spread(left: Array) -> float:
    """Mean absolute deviation without the largest tenth, not below a thousandth."""
    size = np.sort(np.abs(left))
    return max(float(size[: max(1, int(0.9 * len(size)))].mean()), 1e-3)
