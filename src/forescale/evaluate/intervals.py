"""Intervals of scores: Wilson for shares, bootstrap over items for ratios."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wilson(successes: int, n: int, level: float = 0.9) -> tuple[float, float]:
    """Wilson's score interval of a share; sensible at 0 and at 1, where the plain one has no width.

    >>> tuple(round(x, 3) for x in wilson(0, 20))
    (0.0, 0.119)
    """
    from scipy.stats import norm

    if n == 0:
        return 0.0, 1.0
    z = float(norm.ppf(0.5 + level / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def ratio_bootstrap(
    numerators: Floats, denominators: Floats, *, seed: int, level: float = 0.9, draws: int = 1000
) -> tuple[float, float]:
    """Interval of sum(numerators) / sum(denominators) when items (documents, answers) are drawn anew."""
    n = len(numerators)
    if n == 0:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    bottoms = weights @ denominators
    kept = bottoms > 0
    drawn = (weights[kept] @ numerators) / bottoms[kept]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
