"""Loss at the optimal split against compute, L(C) = E + k C^-alpha: through the minima, or along the frontier."""

from __future__ import annotations

from dataclasses import dataclass

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
N_DRAWS = 1000
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
    x = np.log(flops)
    centre = float(x.mean())
    first = _profile(x - centre, loss, max(noise, 2e-3))
    left = np.log(loss / first.loss(int(first.misfit.argmin())))
    # What the points scatter by is not known beforehand: the fit says it, and the law is found again with it.
    found = _profile(x - centre, loss, max(noise, float(np.sqrt((left**2).sum() / max(len(loss) - 2, 1)))))
    best = int(found.misfit.argmin())
    point = {"E": found.floor[best], "k": np.exp(found.height[best] + found.alpha[best] * centre),
             "alpha": found.alpha[best]}  # fmt: skip
    rng = np.random.default_rng(seed)
    chance = np.exp(-0.5 * (found.misfit - found.misfit[best]))
    drawn = rng.choice(len(chance), N_DRAWS, p=chance / chance.sum())
    alpha = np.maximum(found.alpha[drawn] + found.alpha_sd[drawn] * rng.standard_normal(N_DRAWS), 0.0)
    height = found.height[drawn] + (alpha - found.alpha[drawn]) * found.pivot
    height += found.height_sd[drawn] * rng.standard_normal(N_DRAWS)
    draws = {"E": found.floor[drawn], "k": np.exp(height + alpha * centre), "alpha": alpha}
    tail = (1 - level) / 2

    def interval(name: str) -> tuple[float, float]:
        low, high = np.quantile(draws[name], (tail, 1 - tail))
        return float(min(low, point[name])), float(max(high, point[name]))  # the likeliest floor may be 0, or the loss

    return ComputeLaw(
        E=float(point["E"]), k=float(point["k"]), alpha=float(point["alpha"]),
        intervals={name: interval(name) for name in point},
    )  # fmt: skip


@dataclass(frozen=True)
class _Profile:
    """For every floor [f]: the line ln(L - E) = height - alpha x through the points, how surely, and its misfit."""

    x: Array
    floor: Array
    height: Array
    height_sd: Array
    """At the pivot, where height and alpha err independently."""
    alpha: Array
    alpha_sd: Array
    misfit: Array
    """-2 ln likelihood with the priors, up to a constant."""
    pivot: float

    def loss(self, which: int) -> Array:
        return np.asarray(self.floor[which] + np.exp(self.height[which] - self.alpha[which] * self.x))


def _profile(x: Array, loss: Array, sd: float) -> _Profile:
    """`sd`: relative scatter of the points."""
    weights = np.exp(x - x.max())  # as the surface does: the frontier counts
    total, pivot = float(weights.sum()), float(np.average(x, weights=weights))
    spread = float((weights * (x - pivot) ** 2).sum())
    floor = SHARES * loss.min()
    y = np.log(loss[None] - floor[:, None])
    # A scatter of the loss is a larger one of what lies above the floor.
    sd_y = sd * np.average(loss[None] / (loss[None] - floor[:, None]), axis=1, weights=weights)
    level = np.average(y, axis=1, weights=weights)
    seen = -((x - pivot) * weights * (y - level[:, None])).sum(axis=1) / spread
    trust, prior = spread / sd_y**2, ALPHA_PRIOR[1] ** -2.0
    alpha = np.maximum((trust * seen + prior * ALPHA_PRIOR[0]) / (trust + prior), 0.0)
    height = level + alpha * pivot
    fitted = floor[:, None] + np.exp(height[:, None] - alpha[:, None] * x)
    misfit = (weights * (np.log(loss[None] / fitted) / sd) ** 2).sum(axis=1)
    misfit += ((SHARES - SHARE_PRIOR[0]) / SHARE_PRIOR[1]) ** 2 + ((alpha - ALPHA_PRIOR[0]) / ALPHA_PRIOR[1]) ** 2
    return _Profile(x, floor, height, sd_y / np.sqrt(total), alpha, 1 / np.sqrt(trust + prior), misfit, pivot)
