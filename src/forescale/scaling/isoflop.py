"""IsoFLOP profiles: the best size of each budget with its own interval, and the allocation laws through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student

from forescale.base.records.laws import Allocation, IsoMinimum, Surface
from forescale.scaling.noise import Cells
from forescale.scaling.predictive import law_log_loss, surface_split

Array = npt.NDArray[np.float64]

REACH = np.log(6.0)
"""A parabola is trusted this far (ln size) from the best cell: wide grids bias it (+-16x: 4%)."""
MIN_SIZES = 3
FLAT = 1e-6
"""Curvature of ln loss along ln size from which a profile has a minimum."""
ENOUGH, PARAMETERS = 8, 4
"""Degrees of freedom from which parabolas alone tell the noise; and parameters of a surface that its priors leave."""
ALONE = 3
"""Degrees of freedom from which a profile tells its own scatter: on real ladders it differs from budget to budget."""
AS_SAID = 3.0
"""Budgets' worth of belief that minima scatter as their own intervals say."""
N_DRAWS = 400
EXPONENT = (0.5, 0.15)
"""Prior of the model exponent: every public measurement lies within 0.37-0.84, most within 0.45-0.57."""


@dataclass(frozen=True)
class _Profile:
    """One budget's cells, and the parabola of ln loss against ln size through those near the best."""

    cells: Cells
    near: npt.NDArray[np.bool_]
    log_loss: Array
    """Of those near the best, at the budget's compute."""
    x0: float
    design: Array
    coefficients: Array
    best: int

    @classmethod
    def of(cls, cells: Cells, surface: Surface | None) -> _Profile:
        x, y = np.log(cells.size), np.log(cells.loss) + _to_one_compute(cells, surface)
        best = int(y.argmin())
        near = np.abs(x - x[best]) <= REACH
        if near.sum() < MIN_SIZES:
            near = np.argsort(np.argsort(np.abs(x - x[best]))) < MIN_SIZES
        away = x[near] - x[best]
        design = np.stack((np.ones(len(away)), away, away**2), axis=1)
        coefficients = np.linalg.lstsq(design, y[near], rcond=None)[0]
        return cls(cells, near, y[near], float(x[best]), design, coefficients, best)

    @property
    def freedom(self) -> int:
        return int(self.near.sum()) - 3

    @property
    def squares(self) -> float:
        """Squared misses of the parabola, in seed noise."""
        residual = self.log_loss - self.design @ self.coefficients
        return float(((residual / self.cells.noise[self.near]) ** 2).sum())

    def missed(self, surface: Surface) -> Array:
        """What a surface misses each run near the best by, in seed noise."""
        cells = self.cells.take(self.near)
        fitted = law_log_loss(surface, cells.size, cells.tokens)
        return np.asarray((np.log(cells.loss) - fitted) / cells.noise)

    @property
    def sd(self) -> float:
        return float(self.cells.noise[self.near].mean())


def minima(
    cells: Cells, factor: float, level: float, surface: Surface | None = None, seed: int = 0
) -> list[IsoMinimum]:
    """The minimum of each budget's profile of ln loss against ln size; flagged where it lies at the grid's edge.

    Noise is what seeds show, or what all parabolas together miss their runs by, where that is more; few runs say little
    of it, so it is taken as wide as Student's t is. Runs of one budget may differ by some percent of compute: where
    there is a `surface`, each is brought to what they have in common.
    """
    rng = np.random.default_rng(seed)
    profiles = []
    for budget in np.unique(cells.budget):
        inside = cells.budget == budget
        if len(np.unique(np.round(np.log(cells.size[inside]), 2))) >= MIN_SIZES:
            profiles.append(_Profile.of(cells.take(inside), surface))
    sds = _noise(profiles, len(cells), level, surface)
    return [_minimum(p, factor, level, sd, rng) for p, sd in zip(profiles, sds, strict=True)]


def _to_one_compute(cells: Cells, surface: Surface | None) -> Array:
    """What to add to each run's ln loss to have it at the mean compute of all: by the surface, along the tokens."""
    if surface is None:
        return np.zeros(len(cells))
    product = cells.size * cells.tokens
    mean = float(np.exp(np.log(product).mean()))
    here = law_log_loss(surface, cells.size, cells.tokens)
    return law_log_loss(surface, cells.size, mean / cells.size) - here


def _noise(profiles: list[_Profile], n_cells: int, level: float, surface: Surface | None) -> list[float]:
    """Relative sd of each profile's runs, never less than seeds differ by: what they miss their own parabola by; where
    they are too few for that, what all do (in seed noise), or what they miss the surface by where that leaves more
    freedom. Few runs know it badly: it is taken as wide as Student's t is.
    """
    freedom = float(sum(p.freedom for p in profiles))
    square = sum(p.squares for p in profiles) / max(freedom, 1)
    if surface is not None and freedom < ENOUGH and profiles:
        missed = np.concatenate([p.missed(surface) for p in profiles])
        left = len(missed) * max(0.0, 1.0 - PARAMETERS / n_cells)
        if left > freedom:
            freedom, square = left, float((missed**2).sum()) / left
    if freedom < 1:
        return [p.sd for p in profiles]
    tail = 0.5 + level / 2
    wider = float(student.ppf(tail, freedom) / norm.ppf(tail))
    own = [p.squares / p.freedom if p.freedom >= ALONE else square for p in profiles]
    return [wider * p.sd * float(np.sqrt(max(1.0, each))) for p, each in zip(profiles, own, strict=True)]


def _minimum(profile: _Profile, factor: float, level: float, sd: float, rng: np.random.Generator) -> IsoMinimum:
    cells, near, x0, coefficients, best = profile.cells, profile.near, profile.x0, profile.coefficients, profile.best
    x = np.log(cells.size)
    flops = float(np.exp(np.log(cells.flops).mean()))
    low, high = float(x.min()), float(x.max())
    if coefficients[2] <= FLAT:
        return IsoMinimum(
            flops=flops, size=float(cells.size[best]), tokens=flops / (factor * float(cells.size[best])),
            loss=float(cells.loss[best]), edge=True, runs=len(cells),
        )  # fmt: skip
    found = x0 - coefficients[1] / (2 * coefficients[2])
    edge = best in (int(x.argmin()), int(x.argmax())) or not low <= found <= high
    centre = float(np.clip(found, low, high))
    depth = float(coefficients[0] + coefficients[1] * (centre - x0) + coefficients[2] * (centre - x0) ** 2)
    noisy = profile.log_loss + sd * rng.standard_normal((N_DRAWS, int(near.sum())))
    drawn = noisy @ np.linalg.pinv(profile.design).T
    curved = drawn[:, 2] > FLAT
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
        squares = float((precision * (y - design @ np.array((level_, exponent))) ** 2).sum())
        variance = variance * max((AS_SAID + squares) / (AS_SAID + len(x) - 2), 1.0)
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
