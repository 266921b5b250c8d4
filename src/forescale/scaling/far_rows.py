"""Rows far from the laws that were fitted to them and the others: used, and worth a look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forescale.base.records.laws import Predictive, Surface
from forescale.scaling.predictive import centre_of
from forescale.scaling.table import RunTable

ROBUST_SDS = 5.0
"""A row this many robust standard deviations from the others' residuals, in them alone, is far (our choice)."""
AT_LEAST = 0.03
"""... and by at least this share of the loss: smaller is noise that a law takes."""
ABOVE = "cut short, badly tuned, or scored on something else?"
BELOW = "scored on easier or on training text, more compute than its row says, or far off the best split?"
"""What rows above and below a law may have gone through."""
FEWEST = 6
NAMED = 5


def fitted_loss(predictive: Predictive | None, surface: Surface | None, size: float, tokens: float) -> float | None:
    """What the laws say of a row: the mean of their members, else the surface."""
    if predictive is not None and predictive.members:
        return float(np.exp(centre_of(predictive, size, tokens)))
    return None if surface is None else surface.loss(size, tokens)


def far_rows(
    table: RunTable, used: Sequence[int], predictive: Predictive | None, surface: Surface | None
) -> list[tuple[int, float]]:  # fmt: skip
    """(data row, loss / fitted - 1) of the rows that lie far outside the others, the farthest first."""
    fitted = [fitted_loss(predictive, surface, float(table.size[k]), float(table.tokens[k])) for k in used]
    known = [(k, float(np.log(table.loss[k] / f))) for k, f in zip(used, fitted, strict=True) if f]
    if len(known) < FEWEST:
        return []
    logs = np.array([left for _, left in known])
    middle = float(np.median(logs))
    sd = 1.4826 * float(np.median(np.abs(logs - middle)))
    far = [(int(table.row[k]), float(np.expm1(left))) for k, left in known
           if abs(left - middle) > ROBUST_SDS * sd and abs(np.expm1(left)) > AT_LEAST]  # fmt: skip
    return sorted(far, key=lambda found: -abs(found[1]))


def far_warning(far: Sequence[tuple[int, float]]) -> list[str]:
    """One line for those above the law, one for those below: they have different reasons."""
    return [
        line
        for rows, side, why in (
            ([found for found in far if found[1] > 0], "above", ABOVE),
            ([found for found in far if found[1] <= 0], "below", BELOW),
        )
        for line in _line(rows, side, why)
    ]


def _line(far: Sequence[tuple[int, float]], side: str, why: str) -> list[str]:
    if not far:
        return []
    listed = ", ".join(f"row {row} {left:+.1%}" for row, left in far[:NAMED])
    more = f" and {len(far) - NAMED} more" if len(far) > NAMED else ""
    return [
        f"{'a row lies' if len(far) == 1 else f'{len(far)} rows lie'} far {side} the fitted law, beyond the scatter of"
        f" the others: {listed}{more}; used all the same: {why}"
    ]
