"""Loss at the optimal split against compute, L(C) = E + k C^-alpha: through the minima, or along the frontier."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import ComputeLaw, IsoMinimum
from forescale.scaling.noise import Cells

Array = npt.NDArray[np.float64]

SHARES = 1.0 - np.geomspace(1.0, 0.003, 80)
"""E as a share of the lowest loss: searched on a grid, the rest is a straight line."""
SHARE_PRIOR = (0.65, 0.3)
ALPHA_PRIOR = (0.16, 0.06)
"""Exponent in compute: alpha beta / (alpha + beta) of what surfaces usually have."""
N_DRAWS = 200
MIN_POINTS, MIN_SPAN = 3, 3.0


def frontier(cells: Cells, points: list[IsoMinimum]) -> tuple[Array, Array]:
    """Compute and loss of the budgets' minima, or of the runs that no cheaper run beats."""
    good = [p for p in points if not p.edge]
    if len(good) >= MIN_POINTS:
        return np.array([p.flops for p in good]), np.array([p.loss for p in good])
    order = np.argsort(cells.flops)
    best, chosen = np.inf, []
    for i in order:
        if cells.loss[i] < best:
            best = float(cells.loss[i])
            chosen.append(i)
    index = np.array(chosen)
    return cells.flops[index], cells.loss[index]


def fit_compute(flops: Array, loss: Array, noise: float, level: float, seed: int = 0) -> ComputeLaw | None:
    """The law with intervals; None for fewer than three points or less than 3x of compute."""
    if len(flops) < MIN_POINTS or flops.max() / flops.min() < MIN_SPAN:
        return None
    rng = np.random.default_rng(seed)
    log_c = np.log(flops)
    centre = float(log_c.mean())
    e, k, alpha = _grid(log_c - centre, loss[None], noise)
    fitted = e + k * np.exp(-alpha * (log_c - centre)[None])
    sd = max(noise, float(np.sqrt(np.mean(np.log(loss / fitted[0]) ** 2) * len(loss) / max(len(loss) - 2, 1))))
    noisy = fitted * np.exp(sd * rng.standard_normal((N_DRAWS, len(loss))))
    drawn = _grid(log_c - centre, noisy, noise)
    tail = (1 - level) / 2

    def interval(values: Array) -> tuple[float, float]:
        low, high = np.quantile(values, (tail, 1 - tail))
        return float(low), float(high)

    return ComputeLaw(
        E=float(e[0, 0]), k=float(k[0, 0] * np.exp(alpha[0, 0] * centre)), alpha=float(alpha[0, 0]),
        intervals={
            "E": interval(drawn[0]), "k": interval(drawn[1] * np.exp(drawn[2] * centre)), "alpha": interval(drawn[2])
        },
    )  # fmt: skip


def _grid(x: Array, loss: Array, noise: float) -> tuple[Array, Array, Array]:
    """E, k, alpha [b, 1] for each row of losses: weighted lines in ln(L - E) over a grid of E."""
    weights = np.exp(x - x.max())  # as the surface does: the frontier counts
    mean = np.average(x, weights=weights)
    spread = np.average((x - mean) ** 2, weights=weights)
    floors = SHARES[:, None] * loss.min(axis=1)[None]
    y = np.log(loss[None] - floors[:, :, None])
    level = np.average(y, axis=2, weights=weights)
    slope = np.average((x - mean) * (y - level[:, :, None]), axis=2, weights=weights) / spread
    fitted = floors[:, :, None] + np.exp(level[:, :, None] + slope[:, :, None] * (x - mean))
    misfit = (weights * (np.log(loss[None] / fitted) / max(noise, 2e-3)) ** 2).sum(axis=2)
    misfit = misfit + ((SHARES[:, None] - SHARE_PRIOR[0]) / SHARE_PRIOR[1]) ** 2
    misfit = misfit + ((-slope - ALPHA_PRIOR[0]) / ALPHA_PRIOR[1]) ** 2 + np.where(slope > 0, 1e6, 0.0)
    best = misfit.argmin(axis=0)
    pick = (best, np.arange(loss.shape[0]))
    k = np.exp(level[pick] - slope[pick] * mean)
    return floors[pick][:, None], k[:, None], np.maximum(-slope[pick], 0.0)[:, None]
