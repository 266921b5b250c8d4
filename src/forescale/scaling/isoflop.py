"""IsoFLOP profiles: the best size of each budget with its own interval, and the allocation laws through them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from forescale.base.records.laws import Allocation, IsoMinimum, Surface
from forescale.scaling.noise import Cells
from forescale.scaling.predictive import surface_split

Array = npt.NDArray[np.float64]

REACH = np.log(6.0)
"""A parabola is trusted this far (ln size) from the best cell: wide grids bias it (+-16x: 4%)."""
MIN_SIZES = 3
N_DRAWS = 400
EXPONENT = (0.5, 0.15)
"""Prior of the model exponent: every public measurement lies within 0.37-0.84, most within 0.45-0.57."""


def minima(cells: Cells, factor: float, level: float, seed: int = 0) -> list[IsoMinimum]:
    """The minimum of each budget's profile of ln loss against ln size; flagged where it lies at the grid's edge."""
    rng = np.random.default_rng(seed)
    found = []
    for budget in np.unique(cells.budget):
        inside = cells.budget == budget
        if len(np.unique(np.round(np.log(cells.size[inside]), 2))) >= MIN_SIZES:
            found.append(_profile(cells.take(inside), float(budget), factor, level, rng))
    return found


def _profile(cells: Cells, budget: float, factor: float, level: float, rng: np.random.Generator) -> IsoMinimum:
    x, y = np.log(cells.size), np.log(cells.loss)
    best = int(y.argmin())
    flops = float(np.exp(np.log(cells.flops).mean()))
    near = np.abs(x - x[best]) <= REACH
    if near.sum() < MIN_SIZES:
        near = np.argsort(np.abs(x - x[best])) < MIN_SIZES
    x0 = x[best]
    design = np.stack((np.ones(near.sum()), x[near] - x0, (x[near] - x0) ** 2), axis=1)
    coefficients = np.linalg.lstsq(design, y[near], rcond=None)[0]
    freedom = int(near.sum()) - 3
    sd = float(cells.noise[near].mean())
    if freedom > 0:
        residual = y[near] - design @ coefficients
        sd = max(sd, float(np.sqrt((residual**2).sum() / freedom)))
    edge = best in (int(x.argmin()), int(x.argmax()))
    low, high = float(x.min()), float(x.max())
    if coefficients[2] <= 1e-6:
        return IsoMinimum(
            flops=flops, size=float(cells.size[best]), tokens=flops / (factor * float(cells.size[best])),
            loss=float(cells.loss[best]), edge=True, runs=len(cells),
        )  # fmt: skip
    centre = x0 - coefficients[1] / (2 * coefficients[2])
    edge = edge or not low <= centre <= high
    centre = float(np.clip(centre, low, high))
    depth = float(coefficients[0] + coefficients[1] * (centre - x0) + coefficients[2] * (centre - x0) ** 2)
    noisy = y[near] + sd * rng.standard_normal((N_DRAWS, int(near.sum())))
    drawn = noisy @ np.linalg.pinv(design).T
    curved = drawn[:, 2] > 1e-6
    tail = (1 - level) / 2
    size_interval = loss_interval = None
    if curved.sum() >= N_DRAWS // 4:
        centres = np.clip(x0 - drawn[curved, 1] / (2 * drawn[curved, 2]), low - REACH, high + REACH)
        depths = drawn[curved, 0] - drawn[curved, 1] ** 2 / (4 * drawn[curved, 2])
        size_interval = _range(np.exp(centres), tail)
        loss_interval = _range(np.exp(depths), tail)
    return IsoMinimum(
        flops=flops, size=float(np.exp(centre)), tokens=flops / (factor * float(np.exp(centre))),
        loss=float(np.exp(depth)), size_interval=size_interval, loss_interval=loss_interval, edge=edge,
        runs=len(cells),
    )  # fmt: skip


def _range(values: Array, tail: float) -> tuple[float, float]:
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)


def allocation_through(points: list[IsoMinimum], factor: float, level: float) -> Allocation | None:
    """Power law through the minima, each weighted by its interval; None below two budgets 2.5x apart."""
    points = [p for p in points if not p.edge]
    if len(points) < 3 or points[-1].flops < 2.5 * points[0].flops:
        return None
    z = float(norm.ppf(0.5 + level / 2))
    x, y = np.log([p.flops for p in points]), np.log([p.size for p in points])
    spread = np.array(
        [np.log(p.size_interval[1] / p.size_interval[0]) / (2 * z) if p.size_interval else 0.5 for p in points]
    )
    centre = float(x.mean())
    design = np.stack((np.ones_like(x), x - centre), axis=1)
    variance = np.maximum(spread, 0.03) ** 2
    for _ in range(3):  # scatter of the minima around the line beyond their own intervals
        precision = 1 / variance
        normal = design.T @ (precision[:, None] * design) + np.diag((0.0, EXPONENT[1] ** -2))
        right = design.T @ (precision * y) + np.array((0.0, EXPONENT[0] * EXPONENT[1] ** -2))
        level_, exponent = np.linalg.solve(normal, right)
        chi = float((precision * (y - design @ np.array((level_, exponent))) ** 2).sum()) / max(len(x) - 2, 1)
        variance = variance * max(chi, 1.0)
    covariance = np.linalg.inv(normal)
    se = float(np.sqrt(covariance[1, 1]))
    log_coefficient = float(level_ - exponent * centre)
    se_coefficient = float(np.sqrt(covariance[0, 0] + (centre * se) ** 2))
    a = float(exponent)
    low, high = np.exp(log_coefficient - z * se_coefficient), np.exp(log_coefficient + z * se_coefficient)
    coefficient = float(np.exp(log_coefficient))
    return Allocation(
        model_exponent=a, data_exponent=1 - a, model_coefficient=coefficient,
        data_coefficient=1 / (factor * coefficient),
        intervals={
            "model_exponent": (a - z * se, a + z * se), "data_exponent": (1 - a - z * se, 1 - a + z * se),
            "model_coefficient": (float(low), float(high)),
            "data_coefficient": (float(1 / (factor * high)), float(1 / (factor * low))),
        },
        method="isoflop",
    )  # fmt: skip


def allocation_of_surface(surface: Surface, draws: list[Surface], factor: float, level: float) -> Allocation | None:
    """The surface's own optimum, with the spread of its draws."""
    if not _positive(surface):
        return None
    exponent, log_coefficient = surface_split(surface)
    log_coefficient -= exponent * np.log(factor)
    splits = np.array([surface_split(s) for s in draws if _positive(s)])
    intervals = {}
    if len(splits) > 10:
        tail = (1 - level) / 2
        splits[:, 1] -= splits[:, 0] * np.log(factor)
        low, high = _range(splits[:, 0], tail)
        coefficients = _range(np.exp(np.clip(splits[:, 1], -600, 600)), tail)
        intervals = {
            "model_exponent": (low, high), "data_exponent": (1 - high, 1 - low), "model_coefficient": coefficients,
            "data_coefficient": (1 / (factor * coefficients[1]), 1 / (factor * coefficients[0])),
        }  # fmt: skip
    coefficient = float(np.exp(log_coefficient))
    return Allocation(
        model_exponent=exponent, data_exponent=1 - exponent, model_coefficient=coefficient,
        data_coefficient=1 / (factor * coefficient), intervals=intervals, method="surface",
    )  # fmt: skip


def _positive(surface: Surface) -> bool:
    return min(surface.alpha, surface.beta, surface.A, surface.B) > 1e-12
