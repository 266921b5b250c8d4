"""One model for all cells: where the best learning rate and batch lie (power laws) and how the loss rises around them.

ln L = c(cell) + S(x - x*(cell), y - y*(cell)), with S shared by all cells: S(u, v) = hx f(u; sx) + hy f(v; sy) + r u v,
f(u; s) = (e^{su} - su - 1) / s² (u²/2 that may rise faster on one side; loss does, at high learning rates). x* and y*
are linear in the logs of the laws' variables. Sharing S is what lets three noisy rates a cell say anything, and weak
priors on slopes and curvature keep them from saying too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from forescale.scaling.off_best import CURVATURE, MAX_COUPLING, SKEW, linex
from forescale.scaling.response import SMOOTHING, Cell, Smooth, smooth

Array = npt.NDArray[np.float64]

SLOPES: dict[str, dict[str, tuple[float, float]]] = {
    "rate": {"flops": (-0.125, 0.10), "size": (-0.50, 0.30), "tokens": (0.15, 0.25)},
    "batch": {"flops": (0.33, 0.12), "tokens": (0.60, 0.20)},
}
"""Prior mean and sd of the exponents, wide enough for the published laws (DeepSeek Eq. 1, Step Law, Kaplan)."""
CURVATURE_SD = 1.2
"""Prior sd of ln of d² ln L / dx² and / dy² around those of public sweeps (`off_best.CURVATURE`)."""
SKEW_SD = 0.5
COUPLING_SD = 0.4
CENTRE_SD = 1.0
"""Prior sd of the optimum around the middle of the better runs, in ln."""
CENTROID_SD = 0.3
"""Typical error of a single cell's centroid, in ln: only the start of the search depends on it."""
POOLED = 8.0
"""Weight, in runs, of the pooled scatter in each cell's own."""


@dataclass(frozen=True)
class Variables:
    """Which logs a law is linear in."""

    names: tuple[str, ...]

    def design(self, cells: Sequence[Cell], centre: dict[str, float]) -> Array:
        """[cells, 1 + variables]: one, and each variable's centred log."""
        columns = [np.ones(len(cells))]
        for name in self.names:
            columns.append(np.array([math.log(getattr(cell, name)) - centre[name] for cell in cells]))
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Fitted:
    """Laws with the shared surface, and the covariance of all parameters."""

    rate: Variables | None
    batch: Variables | None
    centre: dict[str, float]
    theta: Array
    covariance: Array
    sigma: Array
    """Relative scatter of each cell's runs around the model."""
    n_runs: int

    @property
    def n_rate(self) -> int:
        """Parameters of the learning-rate law."""
        return 0 if self.rate is None else 1 + len(self.rate.names)

    @property
    def n_batch(self) -> int:
        """Parameters of the batch law."""
        return 0 if self.batch is None else 1 + len(self.batch.names)

    @property
    def shape(self) -> Array:
        """ln hx, ln hy, sx, sy, atanh-scaled coupling."""
        return self.theta[self.n_rate + self.n_batch :]

    @property
    def coupling(self) -> float:
        """d x* / d y: how the best learning rate moves with the batch at one size and tokens."""
        log_hx, log_hy, _, _, raw = self.shape
        return -MAX_COUPLING * math.tanh(raw) * math.exp(0.5 * (log_hy - log_hx))

    def around(self, kind: str) -> tuple[float, float, float]:
        """Curvature and skew of S along the learning rate (`rate`) or the batch, and what couples the two."""
        log_hx, log_hy, sx, sy, _ = (float(p) for p in self.shape)
        curvature, skew = (log_hx, sx) if kind == "rate" else (log_hy, sy)
        return math.exp(curvature), skew, _cross(self.shape)

    def optimum(self, cells: Sequence[Cell]) -> tuple[Array, Array]:
        """x* and y* of cells; nan where a law is missing."""
        return _optima(self.theta, self.rate, self.batch, cells, self.centre)

    def rise(self, u: Array, v: Array) -> Array:
        """S(u, v)."""
        return _rise(self.shape, u, v)


def _optima(
    theta: Array, rate: Variables | None, batch: Variables | None, cells: Sequence[Cell], centre: dict[str, float]
) -> tuple[Array, Array]:
    n_rate = 0 if rate is None else 1 + len(rate.names)
    n_batch = 0 if batch is None else 1 + len(batch.names)
    missing = np.full(len(cells), np.nan)
    x = missing if rate is None else rate.design(cells, centre) @ theta[:n_rate]
    y = missing if batch is None else batch.design(cells, centre) @ theta[n_rate : n_rate + n_batch]
    return np.asarray(x), np.asarray(y)


def _cross(shape: Array) -> float:
    """r of S: at most MAX_COUPLING of what the two curvatures allow."""
    log_hx, log_hy, _, _, raw = (float(p) for p in shape)
    return MAX_COUPLING * math.tanh(raw) * math.exp(0.5 * (log_hx + log_hy))


def _rise(shape: Array, u: Array, v: Array) -> Array:
    log_hx, log_hy, sx, sy, _ = (float(p) for p in shape)
    u, v = np.nan_to_num(u), np.nan_to_num(v)
    return np.asarray(math.exp(log_hx) * linex(u, sx) + math.exp(log_hy) * linex(v, sy) + _cross(shape) * u * v)


@dataclass(frozen=True)
class _Runs:
    """All cells' runs, flat."""

    x: Array
    y: Array
    l: Array  # noqa: E741
    cell: npt.NDArray[np.int64]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> _Runs:
        index = np.concatenate([np.full(len(cell), k) for k, cell in enumerate(cells)])
        x, y, loss = (np.concatenate([getattr(c, name) for c in cells]) for name in ("x", "y", "l"))
        return cls(x, y, loss, index)

    def by_cell(self, values: Array, weight: Array, n: int) -> Array:
        """Weighted mean of each cell."""
        total = np.bincount(self.cell, weight, minlength=n)
        return np.asarray(np.bincount(self.cell, weight * values, minlength=n) / np.maximum(total, 1e-12))


def fit_model(
    cells: Sequence[Cell], bands: Array, rate: Variables | None, batch: Variables | None, *, noise_floor: float = 5e-4
) -> Fitted:
    """Fit the laws and the shared surface by reweighted, prior-weighted least squares.

    A run weighs exp(-excess / (4 x band of its cell)), its excess taken from the smooth surface once there is one.
    """
    runs = _Runs.of(cells)
    centre = {n: float(np.mean([math.log(getattr(c, n)) for c in cells])) for n in ("flops", "size", "tokens")}
    mean, sd = _priors(cells, rate, batch)
    x_design = None if rate is None else rate.design(cells, centre)
    y_design = None if batch is None else batch.design(cells, centre)
    own = [smooth(cell, float(band)) for cell, band in zip(cells, bands, strict=True)]
    scatter = np.array([0.0 if surface is None else surface.sd for surface in own])
    reach = SMOOTHING * np.maximum(bands, scatter)[runs.cell]
    centroids = [(float(np.nan), float(np.nan), float(c.l.min())) for c in cells]
    centroids = [c if s is None else s.centroid(float(b)) for c, s, b in zip(centroids, own, bands, strict=True)]
    excess = np.concatenate([own_excess(c, s) for c, s in zip(cells, own, strict=True)])
    known = np.concatenate([np.full(len(c), s is not None) for c, s in zip(cells, own, strict=True)])
    theta = _start(mean, sd, x_design, y_design, np.array(centroids))
    sigma = np.maximum(scatter, 0.003)
    jacobian = np.eye(len(mean))

    def predict(parameters: Array, weight: Array) -> tuple[Array, Array]:
        n_x = 0 if x_design is None else x_design.shape[1]
        n_y = 0 if y_design is None else y_design.shape[1]
        u = np.zeros_like(runs.x) if x_design is None else runs.x - (x_design @ parameters[:n_x])[runs.cell]
        v = np.zeros_like(runs.y) if y_design is None else runs.y - (y_design @ parameters[n_x : n_x + n_y])[runs.cell]
        rise = _rise(parameters[n_x + n_y :], u, v)
        level = runs.by_cell(runs.l - rise, weight, len(cells))
        return rise, level

    for _ in range(4):
        weight = np.exp(-np.clip(excess, 0.0, None) / reach)

        def residuals(parameters: Array, weight: Array = weight, sigma: Array = sigma) -> Array:
            rise, level = predict(parameters, weight)
            data = np.sqrt(weight) * (runs.l - rise - level[runs.cell]) / sigma[runs.cell]
            return np.concatenate([data, (parameters - mean) / sd])

        found = least_squares(residuals, theta, method="trf", loss="linear", max_nfev=60)
        theta, jacobian = np.asarray(found.x), np.asarray(found.jac)
        rise, level = predict(theta, weight)
        error = runs.l - rise - level[runs.cell]
        sigma = _sigmas(error, weight, runs.cell, len(cells), noise_floor)
        # a cell with a surface of its own says itself which runs are near its optimum; the model's word alone could
        # settle around a false one
        excess = np.where(known, excess, 0.5 * (rise + np.clip(runs.l - level[runs.cell], 0.0, None)))
    # weights count as precisions, though they say only which runs are near the optimum: wider than the model's own
    # scatter asks, which pays for surfaces that are not of its form (benchmarks/hyper_grids.py)
    covariance: Array = np.asarray(np.linalg.inv(jacobian.T @ jacobian + 1e-12 * np.eye(len(theta))), dtype=float)
    return Fitted(rate, batch, centre, theta, covariance, sigma, len(runs.l))


def own_excess(cell: Cell, surface: Smooth | None) -> Array:
    """Excess of a cell's runs over its optimum: on its own surface, else over its best run."""
    if surface is None:
        return np.asarray(cell.l - cell.l.min())
    inside = np.maximum(surface.value(cell.x, cell.y), cell.l - 2.0 * surface.sd)  # outside its box it knows nothing
    return np.asarray(np.clip(inside - surface.grid()[2].min(), 0.0, None))


def _start(mean: Array, sd: Array, x_design: Array | None, y_design: Array | None, centroids: Array) -> Array:
    """Where the search begins: the laws through the cells' own centroids, leaning on the priors."""
    theta = mean.copy()
    at = 0
    for design, values in ((x_design, centroids[:, 0]), (y_design, centroids[:, 1])):
        if design is None:
            continue
        n = design.shape[1]
        known = np.isfinite(values)
        if known.any():
            precision = np.diag(sd[at : at + n] ** -2.0)
            rows = design[known] / CENTROID_SD
            error = values[known] / CENTROID_SD - rows @ mean[at : at + n]
            theta[at : at + n] += np.linalg.solve(rows.T @ rows + precision, rows.T @ error)
        at += n
    return theta


def _sigmas(error: Array, weight: Array, cell: npt.NDArray[np.int64], n: int, floor: float) -> Array:
    """Scatter by cell, shrunk to the pooled one as if that were POOLED further runs."""
    squares = np.bincount(cell, weight * error**2, minlength=n)
    count = np.maximum(np.bincount(cell, weight, minlength=n) - 1.0, 0.0)
    pooled = float(squares.sum() / max(1.0, float(count.sum()) - 4.0))
    return np.asarray(np.maximum(np.sqrt((squares + POOLED * pooled) / (count + POOLED)), floor))


def _priors(cells: Sequence[Cell], rate: Variables | None, batch: Variables | None) -> tuple[Array, Array]:
    mean: list[float] = []
    sd: list[float] = []
    for kind, variables, axis in (("rate", rate, "x"), ("batch", batch, "y")):
        if variables is None:
            continue
        mean.append(float(np.mean([_better_half(cell, axis) for cell in cells])))
        sd.append(CENTRE_SD)
        for name in variables.names:
            slope, width = SLOPES[kind][name]
            mean.append(slope)
            sd.append(width)
    mean += [*(math.log(h) for h in CURVATURE), *SKEW, 0.0]
    sd += [CURVATURE_SD, CURVATURE_SD, SKEW_SD, SKEW_SD, COUPLING_SD]
    return np.array(mean), np.array(sd)


def _better_half(cell: Cell, axis: str) -> float:
    values = np.asarray(getattr(cell, axis))
    return float(values[cell.l <= np.median(cell.l)].mean())
