"""Places of a table: size and tokens, which runs of other rates, batches and seeds share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def place_of(x: float, y: float) -> tuple[float, float]:
    """ln size and ln tokens to 1%: what other rates, batches and seeds share."""
    return round(float(x), 2), round(float(y), 2)


def best_of_places(x: Array, y: Array, loss: Array, among: Bools) -> npt.NDArray[np.int64]:
    """The lowest loss of each size and token count: other rates and batches say nothing of the law."""
    best: dict[tuple[float, float], int] = {}
    for i in np.flatnonzero(among):
        place = place_of(x[i], y[i])
        if place not in best or loss[i] < loss[best[place]]:
            best[place] = int(i)
    return np.array(sorted(best.values()), dtype=np.int64)
