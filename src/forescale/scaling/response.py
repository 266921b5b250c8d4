"""The response of the loss to learning rate and batch: cells of equal size and tokens, and a smooth surface for each.

Single runs scatter by more than the near-optimal band (0.25%), so the best run of a grid is a winner by luck: every
rule here works on smoothed losses. x = ln(learning rate), y = ln(batch in tokens), l = ln(loss).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]

SAME_CELL = 0.03
"""Size and tokens within this fraction are one cell (rounding of steps and shapes)."""
DIVERGED = 0.5
"""ln(loss) above the cell's best from which a run counts as diverged, whatever its status."""
SMOOTHING = 4.0
"""Runs weigh exp(-excess / (this x band)): the surface is that of the neighbourhood of the optimum."""


@dataclass(frozen=True)
class Cell:
    """Runs that share size and tokens and differ in learning rate, batch or seed."""

    size: float
    tokens: float
    flops: float
    x: Array
    y: Array
    l: Array  # noqa: E741  (the letter of the docstring above)
    setting: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.l)

    @property
    def rates(self) -> int:
        """Distinct learning rates."""
        return len(np.unique(np.round(self.x, 3)))

    @property
    def batches(self) -> int:
        """Distinct batches."""
        return len(np.unique(np.round(self.y, 3)))


def cells_of(table: RunTable) -> list[Cell]:
    """All cells in which learning rate or batch vary, by ascending compute; runs without either are left out."""
    lr, batch = table.lr, table.batch_tokens
    usable = np.isfinite(lr) & (lr > 0)
    batch = np.where(np.isfinite(batch) & (batch > 0), batch, 1.0)  # no batch column: one level, its law stays unknown
    log_n, log_d = np.log(table.size), np.log(table.tokens)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return []
    places = np.stack((log_n[rows], log_d[rows]), axis=1)
    tree = cKDTree(places)
    taken = np.zeros(len(rows), dtype=bool)
    cells: list[Cell] = []
    for first in range(len(rows)):
        if taken[first]:
            continue
        near = np.array(sorted(tree.query_ball_point(places[first], SAME_CELL, p=np.inf)))
        near = near[~taken[near]]
        taken[near] = True
        at = rows[near]
        loss = np.log(table.loss[at])
        at = at[loss < loss.min() + DIVERGED]
        cell = Cell(
            size=float(np.exp(log_n[at].mean())),
            tokens=float(np.exp(log_d[at].mean())),
            flops=float(np.exp(np.log(table.flops[at]).mean())),
            x=np.log(lr[at]),
            y=np.log(batch[at]),
            l=np.log(table.loss[at]),
            setting=table.setting[at],
        )
        if cell.rates > 1 or cell.batches > 1:
            cells.append(cell)
    return sorted(cells, key=lambda c: c.flops)


def near_optimal(loss: Array, band: float = 0.0025) -> npt.NDArray[np.bool_]:
    """Which losses lie no more than `band` above the lowest (paper 3.1): the rule on raw losses."""
    return np.asarray(loss <= loss.min() * (1.0 + band))


@dataclass(frozen=True)
class Smooth:
    """A polynomial in x and y through the neighbourhood of a cell's optimum."""

    x0: float
    y0: float
    degree: tuple[int, int]
    coefficients: Array
    sd: float
    """Scatter of the runs around the surface, relative."""
    box: tuple[float, float, float, float]
    """Lowest and highest x and y of the runs it rests on."""

    def value(self, x: Array, y: Array) -> Array:
        """ln loss; outside the box it stays at the box's edge."""
        u = np.clip(x, self.box[0], self.box[1]) - self.x0
        v = np.clip(y, self.box[2], self.box[3]) - self.y0
        return np.asarray(_basis(u, v, self.degree) @ self.coefficients)

    def grid(self, n: int = 61) -> tuple[Array, Array, Array]:
        """The surface on n x n points of its box: x, y, ln loss, flat."""
        xs, ys = np.linspace(*self.box[:2], n), np.linspace(*self.box[2:], n)
        x, y = (a.ravel() for a in np.meshgrid(xs, ys))
        return x, y, self.value(x, y)

    def centroid(self, band: float) -> tuple[float, float, float]:
        """Middle of the smoothed near-optimal band and the lowest ln loss."""
        x, y, z = self.grid()
        inside = z <= z.min() + math.log1p(band)
        return float(x[inside].mean()), float(y[inside].mean()), float(z.min())

    def excess(self, x: float, y: float) -> float:
        """How far (fraction) a choice lies above the surface's lowest point."""
        return float(np.expm1(self.value(np.array([x]), np.array([y]))[0] - self.grid()[2].min()))


def smooth(cell: Cell, band: float, degree: int = 3) -> Smooth | None:
    """A cell's own surface, of a degree that its runs can carry; None where they carry none."""
    best = float(cell.l.min())
    reach = 3.0 * SMOOTHING * band
    near = cell.l <= best + reach
    order = min(degree, cell.rates - 1), min(degree, cell.batches - 1)
    n_terms = _basis(np.zeros(1), np.zeros(1), order).shape[1]
    if near.sum() < 2 * n_terms:
        near = np.argsort(cell.l).argsort() < 2 * n_terms
    x, y, loss = cell.x[near], cell.y[near], cell.l[near]
    if len(x) < n_terms + 3:
        return None
    x0, y0 = float(x.mean()), float(y.mean())
    basis = _basis(x - x0, y - y0, order)
    weight = np.exp(-(loss - best) / (SMOOTHING * band))
    solution, *_ = np.linalg.lstsq(basis * np.sqrt(weight)[:, None], loss * np.sqrt(weight), rcond=1e-8)
    residual = loss - basis @ solution
    freedom = max(1.0, float(weight.sum()) * (1 - n_terms / len(x)))
    sd = math.sqrt(float((weight * residual**2).sum()) / freedom)
    box = float(x.min()), float(x.max()), float(y.min()), float(y.max())
    return Smooth(x0, y0, order, np.asarray(solution), sd, box)


def _basis(u: Array, v: Array, degree: tuple[int, int]) -> Array:
    """Monomials u^i v^j up to each one's own degree and the larger one in total."""
    top = max(degree)
    terms = [u**i * v**j for i in range(degree[0] + 1) for j in range(degree[1] + 1) if i + j <= top]
    return np.stack(terms, axis=-1)
