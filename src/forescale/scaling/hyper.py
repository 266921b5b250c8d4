"""Hyper-parameter laws: the best learning rate and batch as power laws, from cells where they were varied.

The paper fits both against compute alone through the near-optimal settings (3.1, Eq. 1). On the public grids a rate law
in (size, tokens) and a batch law in tokens forecasts larger cells three times better; which variables to use is
therefore chosen by what forecasts the larger cells of the table at hand, where it has enough cells to ask
(`hyper_choice`).
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
from forescale.scaling.hyper_choice import APART, Choice, choose, independent
from forescale.scaling.hyper_model import Fitted, Variables, fit_model
from forescale.scaling.noise import measure_noise, noise_law
from forescale.scaling.response import Cell, cells_of
from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]

EDGE_WIDENING = 1.5
"""Factor on the intervals when an optimum lies outside the rates or batches tried (our choice)."""

RIVAL_AT = 10.0
"""Multiple of the largest compute at which a batch law's interval reaches the other law that the cells allow."""


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
    choice = choose(cells, bands, rate_ok, batch_ok)
    fitted = fit_model(cells, bands, choice.rate, choice.batch)
    edges = _edges(fitted, cells)
    warnings += edges
    conditions = _conditions(table, cells)
    widen = EDGE_WIDENING if edges else 1.0
    fitted = _with_misfit(fitted, cells, float(np.median(bands)))
    if choice.undecided is not None:
        rival = fit_model(cells, bands, choice.rate, choice.undecided)
        fitted, told = _with_rival(fitted, rival, cells)
        warnings.append(told)
    elif len(cells) >= 3 and not independent(cells):
        warnings.append(
            "size and tokens grow together in the cells where learning rate or batch vary, so a law in compute cannot "
            "be told from one in tokens: trust both laws at splits like these, or vary them at a second size of one "
            "compute"
        )
    make = _Maker(fitted, cells, float(np.median(bands)), level, widen, conditions, choice)
    rate = make.law("rate") if choice.rate is not None else None
    batch = make.law("batch") if choice.batch is not None else None
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
    choice: Choice

    def law(self, kind: str) -> PowerLaw:
        """The rate or batch law: coefficient and exponents with intervals by the delta method."""
        names, values_of = self._parameters(kind)
        theta = self.fitted.theta
        values = values_of(theta)
        jacobian = _jacobian(values_of, theta)
        covariance = jacobian @ self.fitted.covariance @ jacobian.T
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
                "residual_sd": math.sqrt(_scatter(self.fitted, self.cells, kind, self.band)[0]),
                "band": self.band,
                "held_out": self.choice.held_out,
                "n": len(self.cells),
                "curvature": curvature,
                "skew": skew,
                "cross": None if self.fitted.rate is None or self.fitted.batch is None else cross,
                "tried": self._tried(kind),
            }
        )

    def _tried(self, kind: str) -> tuple[float, float]:
        """Lowest and highest ln(value / best) among the runs."""
        best = self.fitted.optimum(self.cells)[0 if kind == "rate" else 1]
        away = [(cell.x if kind == "rate" else cell.y) - at for cell, at in zip(self.cells, best, strict=True)]
        return min(float(a.min()) for a in away), max(float(a.max()) for a in away)

    def _parameters(self, kind: str) -> tuple[list[str], Callable[[Array], Array]]:
        """Names of the exponents, and (ln coefficient, exponents) as a function of theta."""
        fitted, centre = self.fitted, self.fitted.centre
        variables = fitted.rate if kind == "rate" else fitted.batch
        assert variables is not None
        start = 0 if kind == "rate" else fitted.n_rate

        def plain(theta: Array, start: int = start, variables: Variables = variables) -> Array:
            slopes = theta[start + 1 : start + 1 + len(variables.names)]
            level = theta[start] - sum(s * centre[n] for s, n in zip(slopes, variables.names, strict=True))
            return np.array([level, *slopes])

        if kind == "batch" or not self.choice.coupled or fitted.batch is None:
            return list(variables.names), plain
        batch_variables = fitted.batch
        # C = factor x size x tokens: a law in all three would have no exponents of its own
        factor = centre["flops"] - centre["size"] - centre["tokens"]

        def apart(law: Array, variables: Variables) -> Array:
            """Level and exponents of size and tokens, compute written as their product."""
            slopes = dict(zip(variables.names, law[1:], strict=True))
            of_compute = slopes.get("flops", 0.0)
            return np.array(
                [law[0] + of_compute * factor, *(of_compute + slopes.get(n, 0.0) for n in ("size", "tokens"))]
            )

        def coupled(theta: Array) -> Array:
            """x*(N, D) + k (y - y*(N, D)), sorted by variable."""
            k = replace(fitted, theta=theta).coupling
            own = apart(plain(theta), variables)
            other = apart(plain(theta, fitted.n_rate, batch_variables), batch_variables)
            return np.array([*(own - k * other), k])

        return ["size", "tokens", "batch_tokens"], coupled


def _with_misfit(fitted: Fitted, cells: Sequence[Cell], band: float) -> Fitted:
    """Covariance with what the scatter of cells around a law adds, as if each cell were one point of a regression."""
    covariance = fitted.covariance.copy()
    for kind, variables, start in (("rate", fitted.rate, 0), ("batch", fitted.batch, fitted.n_rate)):
        if variables is None or len(cells) <= 1 + len(variables.names):
            continue
        unexplained = _scatter(fitted, cells, kind, band)[1]
        design = variables.design(cells, fitted.centre)
        at = slice(start, start + design.shape[1])
        covariance[at, at] += unexplained * np.linalg.pinv(design.T @ design)
    return replace(fitted, covariance=covariance)


def _with_rival(fitted: Fitted, rival: Fitted, cells: Sequence[Cell]) -> tuple[Fitted, str]:
    """Covariance that reaches the other batch law at RIVAL_AT x the largest compute, and what to be told of it.

    They are compared at the split, among those the cells have, where they differ most: on the cells' own line both fit.
    """
    assert fitted.batch is not None
    assert rival.batch is not None
    log_c, log_n = np.log([[c.flops for c in cells], [c.size for c in cells]])
    slope, level = np.polyfit(log_c, log_n, 1)
    aside = log_n - slope * log_c - level
    flops = RIVAL_AT * cells[-1].flops
    sizes = np.exp(slope * math.log(flops) + level + np.array([aside.min(), aside.max()]))
    factor = math.exp(fitted.centre["flops"] - fitted.centre["size"] - fitted.centre["tokens"])
    targets = [replace(cells[-1], flops=flops, size=float(n), tokens=float(flops / factor / n)) for n in sizes]
    ours, other = fitted.optimum(targets)[1], rival.optimum(targets)[1]
    far = int(np.argmax(np.abs(ours - other)))
    name = fitted.batch.names[0]
    lever = max(abs(math.log(getattr(targets[far], name)) - fitted.centre[name]), math.log(RIVAL_AT))
    covariance = fitted.covariance.copy()
    at = fitted.n_rate + 1
    covariance[at, at] += float((ours - other)[far] / lever) ** 2
    words = {"flops": "compute", "tokens": "tokens"}
    told = (
        f"the batch law is in {words[name]} but one in {words[rival.batch.names[0]]} agrees with these runs as well: "
        f"for {targets[far].tokens:.3g} tokens at {flops:.3g} FLOPs that would give a batch of "
        f"{math.exp(other[far]):.3g} instead of {math.exp(ours[far]):.3g} tokens (the interval allows for it); vary "
        "the batch at more sizes of one compute"
    )
    return replace(fitted, covariance=covariance), told


def _scatter(fitted: Fitted, cells: Sequence[Cell], kind: str, band: float) -> tuple[float, float]:
    """Mean square of the cells' own shifts from the law, and how much of it their noise does not explain."""
    axis = "x" if kind == "rate" else "y"
    x, y = fitted.optimum(cells)
    found = [
        _own_shift(fitted, cell, float(fitted.sigma[k]), float(x[k]), float(y[k]), axis, band)
        for k, cell in enumerate(cells)
    ]
    known = [pair for pair in found if pair is not None]
    if len(known) < 3:
        return 0.0, 0.0
    spread = float(np.mean([shift**2 for shift, _ in known]))
    return spread, max(0.0, spread - float(np.mean([variance for _, variance in known])))


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
