"""Rolling origin: hide the largest budgets, forecast them, compare. What the error grew like inside the ladder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.scaling.ensemble import Fitted, fit_members, mean_log_loss
from forescale.scaling.noise import Cells

Array = npt.NDArray[np.float64]

FRACTIONS = (1 / 1.6, 1 / 2.5, 1 / 5, 1 / 10, 1 / 20, 1 / 40, 1 / 80)
"""Origins, as shares of the ladder's largest compute."""
MIN_CELLS = 6
"""Cells below an origin that a fit needs."""


@dataclass(frozen=True)
class Rolling:
    """Forecasts of hidden cells: one entry a (origin, hidden cell) pair."""

    origin: Array
    """Largest compute that the fit saw."""
    cell: npt.NDArray[np.int64]
    distance: Array
    """ln(compute of the hidden cell / origin)."""
    error: Array
    """ln(predicted / actual)."""

    def __len__(self) -> int:
        return len(self.error)


def roll(cells: Cells, members: list[Fitted], weights: Array | None = None) -> Rolling:
    """All origins at once: each is a row of one batch of refits."""
    top = float(cells.flops.max())
    origins: list[float] = []
    masks: list[npt.NDArray[np.bool_]] = []
    for fraction in FRACTIONS:
        seen = cells.flops <= top * fraction * (1 + 1e-9)
        if seen.sum() < MIN_CELLS or (masks and np.array_equal(seen, masks[-1])) or seen.all():
            continue
        if cells.flops[seen].max() / cells.flops[seen].min() < 2.5:
            continue
        masks.append(seen)
        origins.append(float(cells.flops[seen].max()))
    if not masks:
        return Rolling(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    counts = np.array(masks, dtype=float)
    refits = fit_members(cells, tuple(m.form for m in members), counts)
    predicted = mean_log_loss(refits, cells.size, cells.tokens, weights)
    origin_of, cell = np.nonzero(counts == 0)
    origin = np.array(origins)[origin_of]
    return Rolling(
        origin=origin,
        cell=cell,
        distance=np.log(cells.flops[cell] / origin),
        error=predicted[origin_of, cell] - np.log(cells.loss[cell]),
    )
