"""Hyper-parameter laws: the best learning rate and batch as power laws, from cells where they were varied.

The paper fits both against compute alone through the near-optimal settings (3.1, Eq. 1). On the public grids a rate law
in (size, tokens) and a batch law in tokens forecasts larger cells three times better; which variables to use is
therefore chosen by what forecasts the larger cells of the table at hand, where it has enough cells to ask.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from forescale.base.records.laws import PowerLaw
from forescale.scaling.hyper_model import Fitted, Variables, fit_model
from forescale.scaling.noise import measure_noise, noise_law
from forescale.scaling.response import Cell, Smooth, cells_of, smooth
from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]

APART = 1.3
"""Cells must span this ratio of compute before an exponent is asked of them."""
INDEPENDENT = 0.05
"""sd of ln size at equal compute from which size and tokens get exponents of their own; the priors keep them sane."""
MIN_TO_CHOOSE = 4
"""Cells with a surface of their own from which the variables are chosen by held-out excess."""
EDGE_WIDENING = 1.5
"""Factor on the intervals when an optimum lies outside the rates or batches tried (our choice)."""


@dataclass(frozen=True)
class Choice:
    """Variables of both laws; `coupled`: the rate law also takes the batch."""

    rate: Variables | None
    batch: Variables | None
    coupled: bool = False


def fit_hyper(
    table: RunTable, band: float = 0.0025, level: float = 0.9
) -> tuple[PowerLaw | None, PowerLaw | None, list[str]]:
    """Learning-rate and batch law of a table, either None where it cannot carry one, and what to be told.

    A setting is near-optimal within the larger of `band` and twice the measured seed spread at its compute.
    """
    cells = cells_of(table)
    rate_ok, batch_ok, warnings = _supported(cells, table)
    if not rate_ok and not batch_ok:
        return None, None, warnings
    cells = _split(cells, rate_ok, batch_ok)
    noise = noise_law(measure_noise(table), float(table.flops.max()))
    bands = np.maximum(band, 2.0 * noise.at(np.array([c.flops for c in cells])))
    choice, held_out = choose(cells, bands, rate_ok, batch_ok)
    fitted = fit_model(cells, bands, choice.rate, choice.batch)
    edges = _edges(fitted, cells)
    warnings += edges
    conditions = _conditions(table, cells)
    widen = EDGE_WIDENING if edges else 1.0
    make = _Maker(fitted, cells, float(np.median(bands)), level, widen, conditions, held_out)
    rate = make.law("rate", choice) if choice.rate is not None else None
    batch = make.law("batch", choice) if choice.batch is not None else None
    n_cells = len({round(math.log(c.flops), 1) for c in cells})
    if n_cells < 3:
        warnings.append(
            f"learning-rate and batch laws rest on {n_cells} computes: their exponents lean on the published ones"
        )
    return rate, batch, warnings


def _supported(cells: Sequence[Cell], table: RunTable) -> tuple[bool, bool, list[str]]:
    """Whether the table varies rate and batch at two computes or more; what is missing, in words."""
    warnings: list[str] = []
    verdicts = []
    for what, count, values in (
        ("learning rate", "rates", table.lr),
        ("batch", "batches", table.batch_tokens),
    ):
        varied = [c for c in cells if getattr(c, count) > 1]
        wide = len(varied) > 1 and varied[-1].flops / varied[0].flops > APART
        verdicts.append(wide)
        if wide:
            continue
        if not np.isfinite(values).any():
            warnings.append(f"no {what} law: {table.lack_of(what)}")
        elif not varied:
            warnings.append(f"no {what} law: no size and token count was run at more than one {what}")
        else:
            warnings.append(
                f"no {what} law: the {what} was varied at one compute only ({varied[0].flops:.3g} FLOPs); "
                "vary it at another, at least 3x away"
            )
    return verdicts[0], verdicts[1], warnings


def _split(cells: Sequence[Cell], rate_ok: bool, batch_ok: bool) -> list[Cell]:
    """Where one of the two has no law, runs are compared within one level of it only."""
    if rate_ok and batch_ok:
        return list(cells)
    axis, count = ("y", "rates") if rate_ok else ("x", "batches")
    parts: list[Cell] = []
    for cell in cells:
        values = np.round(getattr(cell, axis), 3)
        for value in np.unique(values):
            at = values == value
            part = replace(cell, x=cell.x[at], y=cell.y[at], l=cell.l[at], setting=cell.setting[at])
            if getattr(part, count) > 1:
                parts.append(part)
    return parts


def choose(cells: Sequence[Cell], bands: Array, rate_ok: bool, batch_ok: bool) -> tuple[Choice, float | None]:
    """The variables that forecast left-out larger cells best, and the mean excess they had there.

    Where too few cells have a surface of their own: (size, tokens) if the two are independent in the table, and tokens
    for the batch; else compute.
    """
    free = _independent(cells)
    rates = [Variables(("size", "tokens")), Variables(("flops",))] if free else [Variables(("flops",))]
    batches = [Variables(("tokens",)), Variables(("flops",))]
    candidates = [
        Choice(r, b) for r, b in itertools.product(rates if rate_ok else [None], batches if batch_ok else [None])
    ]
    judged = [(cell, surface) for cell, b in zip(cells, bands, strict=True) if (surface := smooth(cell, float(b)))]
    if len(judged) < MIN_TO_CHOOSE or len(cells) < MIN_TO_CHOOSE + 1:
        return candidates[0], None
    scores = [held_out_excess(cells, bands, judged, choice) for choice in candidates]
    best = int(np.argmin([own for _, own in scores]))
    choice, (around, own) = candidates[best], scores[best]
    if choice.rate is not None and choice.batch is not None:
        coupled = replace(choice, coupled=True)
        if held_out_excess(cells, bands, judged, coupled)[0] < around:
            choice = coupled
    return choice, own if math.isfinite(own) else None


def _independent(cells: Sequence[Cell]) -> bool:
    """Whether size and tokens move apart at equal compute."""
    log_c = np.log([c.flops for c in cells])
    log_n = np.log([c.size for c in cells])
    if len(cells) < 3:
        return False
    slope, level = np.polyfit(log_c, log_n, 1)
    return bool(np.std(log_n - slope * log_c - level) > INDEPENDENT)


def held_out_excess(
    cells: Sequence[Cell], bands: Array, judged: Sequence[tuple[Cell, Smooth]], choice: Choice
) -> tuple[float, float]:
    """Mean excess on the larger cells when the laws are fitted on the smaller half, and on the smaller two thirds.

    First with the batch halved and doubled too, since a law that knows the batch shows its worth where the batch is not
    the best one; second at the laws' own batch alone. The first cannot choose a batch law: beyond what was tried a
    surface is level, so a law that points there loses nothing by a further step.
    """
    order = np.argsort([c.flops for c in cells])
    around: list[float] = []
    own: list[float] = []
    for share in (0.5, 0.67):
        n = max(3, round(share * len(cells)))
        train = [cells[i] for i in order[:n]]
        top = train[-1].flops * APART
        tests = [(c, s) for c, s in judged if c.flops > top]
        if not tests:
            continue
        fitted = fit_model(train, bands[order[:n]], choice.rate, choice.batch)
        x, y = fitted.optimum([c for c, _ in tests])
        for (_, surface), x_best, y_best in zip(tests, x, y, strict=True):
            for shift in (-math.log(2.0), 0.0, math.log(2.0)) if choice.batch is not None else (0.0,):
                at = x_best + (fitted.coupling * shift if choice.coupled else 0.0)
                rate_at = at if choice.rate is not None else surface.x0
                batch_at = y_best + shift if choice.batch is not None else surface.y0
                excess = surface.excess(float(rate_at), float(batch_at))
                around.append(excess)
                if shift == 0.0:
                    own.append(excess)
    return (float(np.mean(around)), float(np.mean(own))) if own else (math.inf, math.inf)


def _edges(fitted: Fitted, cells: Sequence[Cell]) -> list[str]:
    """Optima outside what was tried, with the runs that would show them."""
    x, y = fitted.optimum(cells)
    warnings = []
    for values, axis, what in ((x, "x", "learning rate"), (y, "y", "batch")):
        for side, name in ((-1, "lowest"), (1, "highest")):
            out = []
            for value, cell in zip(values, cells, strict=True):
                tried = getattr(cell, axis)
                limit = float(tried.max() if side > 0 else tried.min())
                if math.isfinite(value) and side * (value - limit) > 0:
                    out.append((cell.flops, limit))
            if out:
                flops, limit = out[-1]
                beyond = math.exp(limit) * 2.0**side
                warnings.append(
                    f"the best {what} lies beyond the {name} tried in {len(out)} of {len(cells)} cells (the largest at "
                    f"{flops:.3g} FLOPs): its law is an extrapolation; add runs at {beyond:.3g}"
                )
    return warnings


def _conditions(table: RunTable, cells: Sequence[Cell]) -> dict[str, Any]:
    """What the laws hold for; `decay_timescale` is learning rate x weight decay x steps of the cells' best runs."""
    known = table.conditions
    result: dict[str, Any] = {
        "schedule": known.get("schedule"),
        "warmup": known.get("warmup_tokens"),
        "weight_decay": known.get("weight_decay"),
        "optimizer": known.get("optimizer"),
    }
    decay = known.get("weight_decay")
    if isinstance(decay, (int, float)) and decay > 0 and cells:
        values = []
        for cell in cells:
            best = int(np.argmin(cell.l))
            values.append(math.exp(cell.x[best]) * decay * cell.tokens / math.exp(cell.y[best]))
        result["decay_timescale"] = float(np.median(values))
    return result


@dataclass(frozen=True)
class _Maker:
    """Turns fitted parameters into laws with intervals."""

    fitted: Fitted
    cells: Sequence[Cell]
    band: float
    level: float
    widen: float
    conditions: dict[str, Any]
    held_out: float | None

    def law(self, kind: str, choice: Choice) -> PowerLaw:
        """The rate or batch law: coefficient and exponents with intervals by the delta method."""
        names, values_of = self._parameters(kind, choice)
        theta = self.fitted.theta
        values = values_of(theta)
        jacobian = _jacobian(values_of, theta)
        covariance = jacobian @ self.fitted.covariance @ jacobian.T + self._misfit(kind, names)
        sd = np.sqrt(np.diag(covariance)) * self.widen
        z = float(norm.ppf(0.5 + self.level / 2))
        intervals = {"coefficient": (math.exp(values[0] - z * sd[0]), math.exp(values[0] + z * sd[0]))}
        for name, value, s in zip(names, values[1:], sd[1:], strict=True):
            intervals[name] = (float(value - z * s), float(value + z * s))
        raw = np.sqrt(np.diag(covariance))
        curvature, skew, cross = self.fitted.around(kind)
        keys = ["coefficient", *names]
        correlation = {
            f"{keys[i]},{keys[j]}": float(covariance[i, j] / (raw[i] * raw[j]))
            for i, j in itertools.combinations(range(len(keys)), 2)
        }
        return PowerLaw.model_validate(
            {
                "coefficient": math.exp(values[0]),
                "exponents": dict(zip(names, (float(v) for v in values[1:]), strict=True)),
                "conditional_on": self.conditions,
                "intervals": intervals,
                "correlation": correlation,
                "residual_sd": self._shifts(kind)[0],
                "band": self.band,
                "held_out": self.held_out,
                "n": len(self.cells),
                "curvature": curvature,
                "skew": skew,
                "cross": cross if choice.rate is not None and choice.batch is not None else None,
                "tried": self._tried(kind),
            }
        )

    def _tried(self, kind: str) -> tuple[float, float]:
        """Lowest and highest ln(value / best) among the runs."""
        best = self.fitted.optimum(self.cells)[0 if kind == "rate" else 1]
        away = [(cell.x if kind == "rate" else cell.y) - at for cell, at in zip(self.cells, best, strict=True)]
        return min(float(a.min()) for a in away), max(float(a.max()) for a in away)

    def _parameters(self, kind: str, choice: Choice) -> tuple[list[str], Callable[[Array], Array]]:
        """Names of the exponents, and (ln coefficient, exponents) as a function of theta."""
        fitted, centre = self.fitted, self.fitted.centre
        variables = fitted.rate if kind == "rate" else fitted.batch
        assert variables is not None
        start = 0 if kind == "rate" else fitted.n_rate

        def plain(theta: Array, start: int = start, variables: Variables = variables) -> Array:
            slopes = theta[start + 1 : start + 1 + len(variables.names)]
            level = theta[start] - sum(s * centre[n] for s, n in zip(slopes, variables.names, strict=True))
            return np.array([level, *slopes])

        if kind == "batch" or not choice.coupled or fitted.batch is None:
            return list(variables.names), plain
        names = list(dict.fromkeys([*variables.names, *fitted.batch.names]))
        batch_variables = fitted.batch

        def coupled(theta: Array) -> Array:
            """x*(N, D) + k (y - y*(N, D)), sorted by variable."""
            k = replace(fitted, theta=theta).coupling
            own, other = plain(theta), plain(theta, fitted.n_rate, batch_variables)
            slopes = {n: 0.0 for n in names}
            for name, slope in zip(variables.names, own[1:], strict=True):
                slopes[name] += slope
            for name, slope in zip(batch_variables.names, other[1:], strict=True):
                slopes[name] -= k * slope
            return np.array([own[0] - k * other[0], *slopes.values(), k])

        return [*names, "batch_tokens"], coupled

    def _shifts(self, kind: str) -> tuple[float, float]:
        """sd of the cells' own optima around the law, and how much of it their noise does not explain."""
        axis = "x" if kind == "rate" else "y"
        optimum = dict(zip("xy", self.fitted.optimum(self.cells), strict=True))
        shifts, variances = [], []
        for k, cell in enumerate(self.cells):
            found = _own_shift(
                self.fitted, cell, float(self.fitted.sigma[k]), optimum["x"][k], optimum["y"][k], axis, self.band
            )
            if found is not None:
                shifts.append(found[0])
                variances.append(found[1])
        if len(shifts) < 3:
            return 0.0, 0.0
        spread = float(np.mean(np.square(shifts)))
        return math.sqrt(spread), max(0.0, spread - float(np.mean(variances)))

    def _misfit(self, kind: str, names: list[str]) -> Array:
        """Covariance that the scatter of cells around the law adds, as if each cell were one point of a regression."""
        unexplained = self._shifts(kind)[1]
        size = 1 + len(names)
        added = np.zeros((size, size))
        variables = self.fitted.rate if kind == "rate" else self.fitted.batch
        if unexplained <= 0 or variables is None or len(self.cells) <= size:
            return added
        design = variables.design(self.cells, {n: 0.0 for n in self.fitted.centre})
        part = unexplained * np.linalg.pinv(design.T @ design)
        added[: len(part), : len(part)] = part
        return added


def _jacobian(function: Callable[[Array], Array], theta: Array) -> Array:
    columns = []
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = 1e-4
        columns.append((function(theta + step) - function(theta - step)) / 2e-4)
    return np.stack(columns, axis=1)


def _own_shift(
    fitted: Fitted, cell: Cell, sigma: float, x_best: float, y_best: float, axis: str, band: float
) -> tuple[float, float] | None:
    """How far the cell's own optimum lies from the law's along one axis, and that shift's variance."""
    steps = np.linspace(-1.5, 1.5, 61)
    u0, v0 = np.nan_to_num(cell.x - x_best), np.nan_to_num(cell.y - y_best)
    weight = np.exp(-(cell.l - cell.l.min()) / (4.0 * band))
    costs = []
    for step in steps:
        u, v = (u0 - step, v0) if axis == "x" else (u0, v0 - step)
        error = cell.l - fitted.rise(u, v)
        error = error - float((weight * error).sum() / weight.sum())
        costs.append(float((weight * error**2).sum()) / (2 * sigma**2))
    cost = np.array(costs)
    probability = np.exp(-(cost - cost.min()))
    probability /= probability.sum()
    mean = float((probability * steps).sum())
    variance = float((probability * (steps - mean) ** 2).sum())
    return None if variance > 0.5 else (mean, variance)
