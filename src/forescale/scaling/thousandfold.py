"""Groups of rows whose size or tokens are a thousand or a million times off those of the rest: refused, and named.

Single rows are judged by the law of the others (`misplaced`). Where a third of the rows and more are off, nobody knows
which are the others: but all lie on one surface once the factor is taken out, and on none as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.scaling.misplaced import AGREES, MOST
from forescale.scaling.outline import features, least_absolute, spread
from forescale.scaling.places import best_of_places
from forescale.scaling.plausible import Names

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

POWERS = (3, 6)
FEWEST_PLACES = 15
"""Different sizes and token counts of a table below which a group is not told from chance."""
BETTER = 2.5
"""How many times closer the outline must lie with the factor than without: public tables with more than `FEWEST_PLACES`
come to 1.4 at most, and with half of their rows put a thousand times off to 2.1 to 13."""
BESIDE = 0.5
"""Factors this much smaller and larger (powers of ten) must do worse: of two ways of training, any may do as well."""
CLEARLY, ROUNDS = 2.0, 6
"""Mean deviations by which a row must lie closer on the other side of a cut to go there."""
GAPS = 3
"""Largest gaps in size, in tokens and in their ratio at which the rows are cut in two."""


def refuse_thousandfold(
    size: Array, tokens: Array, loss: Array, names: Names, numbers: Sequence[int],
    said: Mapping[str, Array] | None = None, choose: Callable[[Bools], str] | None = None,
) -> None:  # fmt: skip
    """Exit 3 where one factor of 1e3 or 1e6 in one column, in a group of rows, brings all rows onto one surface.

    `numbers`: data rows from 1. `said` is as `misplaced` has it; `choose`: another remedy, of a group.
    """
    found = _group(np.log(size), np.log(tokens), np.log(loss))
    if found is None:
        return
    name, power, group, closer = found
    column = names.size if name == "size" else names.tokens
    factor = f"{10**power:,}"
    few = group if 2 * group.sum() <= len(group) else ~group
    large, small = ("large", "small") if few is group else ("small", "large")
    listed = [n for n, inside in zip(numbers, few, strict=True) if inside]
    first = ", ".join(map(str, listed[:8])) + (", ..." if len(listed) > 8 else "")
    whom = {known: _blamed(logs, few, power) for known, logs in (said or {}).items()}
    blamed = "; ".join(
        f"{known} says that {'these' if who == 'few' else 'the others'} are wrong" for known, who in whom.items() if who
    )
    wrong = " or ".join(sorted({who for who in whom.values() if who}))
    mend = {"few": "in these rows", "rest": "in the others"}.get(wrong, "in one of the two groups")
    raise InputError(
        f"`{column}` is {factor} times too {large} in {len(listed)} of {len(group)} rows (rows {first}), or {factor}"
        f" times too {small} in the others",
        why=f"with that factor all rows lie on one surface, {closer:.2g} times closer than without"
        + (f"; {blamed}" if blamed else ""),
        remedy=f"mend `{column}` {mend} (a factor of {factor})" + (f", or {choose(group)}" if choose else ""),
        key=column,
    )


def _group(x: Array, y: Array, log_loss: Array) -> tuple[str, int, Bools, float] | None:
    """The column, the power of ten, the rows that it is too large in, and how much closer the outline lies then."""
    best = best_of_places(x, y, log_loss, np.ones(len(x), dtype=bool))
    if len(best) < FEWEST_PLACES:
        return None

    def away(name: str, power: float, group: Bools) -> float:
        step = power * math.log(10.0) * group[best]
        terms = features(x[best] - step, y[best]) if name == "size" else features(x[best], y[best] - step)
        return spread(log_loss[best] - terms @ least_absolute(terms, log_loss[best]))

    plain = away("size", 0.0, np.zeros(len(x), dtype=bool))
    tried = [
        (away(name, power, group), name, power, group)
        for group in _cuts(x, y)
        if min(group[best].sum(), (~group[best]).sum()) >= MOST * len(best)
        for name in ("size", "tokens")
        for power in POWERS
    ]
    if not tried:
        return None
    _, name, power, group = min(tried, key=lambda one: one[0])
    group = _settled(x, y, log_loss, name, power, group)
    least = away(name, power, group)
    beside = min(away(name, power + side, group) for side in (-BESIDE, BESIDE))
    if BETTER * least > plain or beside <= least:
        return None
    return name, power, group, plain / least


def _settled(x: Array, y: Array, log_loss: Array, name: str, power: int, group: Bools) -> Bools:
    """The group with the rows that a cut put on the wrong side: the outline misses them less on the other."""
    step = power * math.log(10.0)
    for _ in range(ROUNDS):
        places = (x - step * group, y) if name == "size" else (x, y - step * group)
        terms = features(*places)
        found = least_absolute(terms, log_loss)
        over = [(x - shift, y) if name == "size" else (x, y - shift) for shift in (0.0, step)]
        plain, shifted = (np.abs(log_loss - features(*at, like=places) @ found) for at in over)
        here, there = np.where(group, shifted, plain), np.where(group, plain, shifted)
        moves = there < here - CLEARLY * spread(log_loss - terms @ found)
        if not moves.any():
            break
        group = group ^ moves
    return group


def _cuts(x: Array, y: Array) -> Iterator[Bools]:
    """Both sides of the largest gaps in size, in tokens and in their ratio."""
    for values in (x, y, y - x):
        order = np.sort(values)
        for k in np.argsort(-np.diff(order), kind="stable")[:GAPS]:
            above = values > (order[k] + order[k + 1]) / 2
            yield above
            yield ~above


def _blamed(logs: Array, few: Bools, power: int) -> str:
    """Which group the table's own compute contradicts by that factor: `few`, `rest`, or neither."""

    def middle(group: Bools) -> float:
        known = logs[group & np.isfinite(logs)]
        return float(np.median(known)) if len(known) else math.nan

    inside, outside = abs(middle(few)), abs(middle(~few))
    step = power * math.log(10.0)
    if abs(inside - step) < AGREES and outside < AGREES:
        return "few"
    return "rest" if abs(outside - step) < AGREES and inside < AGREES else ""
