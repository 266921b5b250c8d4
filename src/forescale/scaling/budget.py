"""Days and money buy what devices do with them: a run that its own layout ends in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from forescale.scaling.dials import Asked

OVER, UNDER = 1.01, 0.98
"""How near to its limit a run must end: shapes and steps come in whole numbers (our choice)."""
TRIES = 16


def within(asked: Asked, limit_hours: float | None, hours_of: Callable[[Asked], float | None]) -> Asked:
    """`asked`, with as much less compute as its devices' waiting costs, or as much more as another batch saves.

    `hours_of` a budget; None: no layout holds it. What is fixed twice over (shape and tokens) stays, and so does a run
    that no number of hours holds.
    """
    if limit_hours is None or (asked.shape is not None and asked.tokens is not None):
        return asked
    low, high, flops = None, math.inf, asked.flops
    for _ in range(TRIES):
        taken = hours_of(replace(asked, flops=flops))
        if taken is None and low is None:
            break
        if taken is not None and taken <= OVER * limit_hours:
            low = flops
            if taken >= UNDER * limit_hours:
                break
        else:
            high = flops
        if low is not None and high < math.inf:
            if high / low < OVER:
                break
            flops = math.sqrt(low * high)
        elif taken is not None:
            flops *= limit_hours / taken if low is not None else (limit_hours / taken) ** 1.5
    return asked if low is None else replace(asked, flops=low)
