"""In flight: the final loss of a run as a distribution, from the part of its curve that is there.

The hot curve (at peak rate) is E + A step^-b; a lower rate takes a share off it: loss = hot x (1 - G phi(rate / peak)),
phi(f) = (1 - f^0.5) / (1 - 0.1^0.5), so that G is the gain of a decay to a tenth. The width is what the same method
missed by when it looked from earlier steps to now, grown with the ln of the steps still to go, with the doubt about the
part of G that the run has not shown yet, and with the noise of one run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import t as student

from forescale.base.records.spec import MULTI_STEP
from forescale.base.records.watch import InFlight, Watch
from forescale.scaling.logs import Curve, read_curve

Array = npt.NDArray[np.float64]

GAIN, GAIN_SD = 0.043, 0.018
"""Gain of a decay to a tenth and its sd: between the paper's Fig. 1 (2.42 to 2.33) and our tiny runs (5.0%, sd 1.4)."""
GROWTH_FLOOR = 0.012
"""Relative sd per unit of ln(steps to go / steps done) at least charged (our choice)."""
PRIOR_GROWTH, PRIOR_LOOKS = 0.025, 3.0
"""What a look back is expected to miss by per unit of ln distance, and how many looks that counts for (our choice)."""
BLIND_GROWTH = 0.12
"""The same while a log is too short to look back in: the first plateau of a tiny run misled by as much."""
NOISE = 0.002
"""Relative noise of one run's end that no curve can show (seed, batch order)."""
FREEDOM = 5.0
"""Degrees of freedom of the predictive Student t: a few looks back measure the growth."""
EXPONENTS = np.linspace(0.05, 1.0, 39)
LOOKS = 24
BAND_FROM = 0.2
"""Progress at which the first in-flight interval becomes the band of a run that had no sealed forecast."""
BLOCKS = 120
RECENT = 0.04
"""Share of the steps that `loss now` is the mean of."""


@dataclass(frozen=True)
class Hot:
    """The fitted hot curve and gain."""

    floor: float
    scale: float
    exponent: float
    gain: float
    gain_sd: float
    scatter: float

    def at(self, step: float, factor: float) -> float:
        """Loss at a step with the rate at this factor of its peak."""
        hot = self.floor + self.scale * step**-self.exponent
        return hot * (1.0 - self.gain * float(_phi(np.array([factor]))[0]))


def watch(
    source: str | Path | Curve,
    *,
    total_steps: float | None = None,
    interval: tuple[float, float] | None = None,
    level: float = 0.9,
    metric: str | None = None,
    final_factor: float | None = None,
) -> Watch:
    """Read a run's curve and say where it will end.

    `interval`: the sealed forecast, in the unit of the log (`metric` chooses loss or bpb). `final_factor`: the last
    learning rate over the peak, where neither the log's schedule nor the paper's (0.1) is meant.
    """
    curve = source if isinstance(source, Curve) else read_curve(source, metric=metric)
    total = total_steps or curve.total_steps
    warnings = list(curve.warnings)
    now = float(curve.step[-1])
    smooth_now = _recent(curve, _factors(curve, total or now))
    if total is None or total < now:
        told = f"the run was to have {total:,.0f} steps, and the log is at step {now:,.0f} already" if total else (
            "the log does not say how many steps the run has"
        )  # fmt: skip
        warnings.append(f"{told}: no final loss (give total_steps)")
        return Watch(
            source=curve.source, format=curve.format, unit=curve.unit, step=now, total_steps=None, progress=None,
            loss=smooth_now, final=None, level=level, warnings=warnings,
        )  # fmt: skip
    if not np.isfinite(curve.lr).any():
        warnings.append("the log has no learning rate: the paper's multi-step schedule is assumed")
    end = MULTI_STEP[-1][1] if final_factor is None else final_factor
    history = _history(curve, total, end, level)
    band = interval
    if band is None:
        band = next((look.interval for look in history if look.step >= BAND_FROM * total), None)
    return Watch(
        source=curve.source,
        format=curve.format,
        unit=curve.unit,
        step=now,
        total_steps=total,
        progress=min(1.0, now / total),
        loss=smooth_now,
        final=history[-1] if history else None,
        level=level,
        history=history,
        band=band,
        left_since=_left_since(history, band),
        warnings=warnings,
    )


def _history(curve: Curve, total: float, end: float, level: float) -> list[InFlight]:
    """The forecast from LOOKS steps, evenly spaced, each seeing only its past; the last one is now's."""
    now = float(curve.step[-1])
    looks = []
    for share in np.linspace(1.0 / LOOKS, 1.0, LOOKS):
        seen = curve.until(share * now + 1e-9)
        if len(seen) >= 8:
            looks.append(_look(seen, total, end, level))
    return looks


def _look(curve: Curve, total: float, end: float, level: float) -> InFlight:
    """The final loss as this curve alone tells it."""
    now = float(curve.step[-1])
    factor = _factors(curve, total)
    fit = _fit(curve, factor)
    ratio = math.log(max(total / now, 1.0))
    centre = fit.at(total, end)
    if now >= 0.999 * total:  # ended: what was logged last, smoothed
        centre = _recent(curve, factor)
    shown = min(1.0, float(_phi(factor[-1:])[0]) / max(float(_phi(np.array([end]))[0]), 1e-9))
    growth = max(GROWTH_FLOOR, _past_growth(curve, factor))
    # the points that the present level rests on, and those that the end will be the mean of
    at_rate = max(1, int((np.abs(factor - factor[-1]) <= 0.1 * factor[-1] + 1e-12).sum()))
    at_end = max(3.0, RECENT * len(curve) * total / now)
    scatter = fit.scatter**2 * (1.0 / min(at_rate, 40) + 1.0 / at_end)
    variance = (growth * ratio) ** 2 + (fit.gain_sd * (1.0 - shown)) ** 2 + NOISE**2 + scatter
    half = float(student.ppf(0.5 + level / 2, FREEDOM)) * math.sqrt(variance)
    return InFlight(step=now, median=centre, interval=(centre * math.exp(-half), centre * math.exp(half)))


def _phi(factor: Array) -> Array:
    """Share of the gain that a rate of `factor` x peak has realised: 0 at the peak, 1 at a tenth."""
    return np.asarray((1.0 - np.sqrt(np.clip(factor, 0.0, 1.0))) / (1.0 - math.sqrt(0.1)))


def _factors(curve: Curve, total: float) -> Array:
    """Rate over its peak at each step, 1 before the peak (warm-up is no decay)."""
    if np.isfinite(curve.lr).any() and np.nanmax(curve.lr) > 0:
        rate = np.where(np.isfinite(curve.lr), curve.lr, np.nanmax(curve.lr))
        factor = rate / rate.max()
        factor[: int(np.argmax(rate >= 0.999 * rate.max()))] = 1.0
        return np.asarray(factor)
    done = curve.step / total
    factor = np.ones_like(done)
    for start, value in MULTI_STEP:
        factor[done >= start] = value
    return np.asarray(factor)


def _blocks(curve: Curve, factor: Array | None = None) -> tuple[Array, Array, Array, Array]:
    """Means over log-spaced blocks of steps: step, loss, factor, and weight (points inside)."""
    values = np.ones_like(curve.loss) if factor is None else factor
    step = np.maximum(curve.step, 1.0)
    edges = np.geomspace(max(1.0, 0.02 * step[-1]), step[-1] * 1.0001, BLOCKS + 1)
    index = np.digitize(step, edges) - 1
    kept = [np.flatnonzero(index == k) for k in range(BLOCKS)]
    kept = [k for k in kept if len(k)]
    # a block that straddles a drop of the rate is split there
    parts = [p for k in kept for p in np.split(k, np.flatnonzero(np.abs(np.diff(np.log(values[k]))) > 0.3) + 1)]
    means = [(step[p].mean(), curve.loss[p].mean(), values[p].mean(), float(len(p))) for p in parts]
    columns = np.array(means).T
    return columns[0], columns[1], columns[2], columns[3]


def _recent(curve: Curve, factor: Array) -> float:
    """Loss now: the mean of the last RECENT of the steps, as far as they ran at the present rate."""
    at = (curve.step >= (1.0 - RECENT) * curve.step[-1]) & (np.abs(factor - factor[-1]) <= 0.1 * factor[-1] + 1e-12)
    if at.sum() < 3:
        at = np.abs(factor - factor[-1]) <= 0.1 * factor[-1] + 1e-12
        at[:-3] = False
    return float(curve.loss[at].mean())


def _fit(curve: Curve, factor: Array) -> Hot:
    """Hot curve by non-negative least squares over a grid of exponents, the gain by its prior and what was seen."""
    step, loss, f, count = _blocks(curve, factor)
    late = (step / step[-1]) ** 0.7  # what is ahead looks like what was last
    weight = np.sqrt(np.minimum(count, 30.0)) * late / loss
    phi = _phi(f)
    gain, gain_sd, best = GAIN, GAIN_SD, (math.inf, 0.0, 0.0, 0.5)
    for _ in range(4):
        cooled = 1.0 - gain * phi
        best = (math.inf, 0.0, 0.0, 0.5)
        for exponent in EXPONENTS:
            basis = np.stack([cooled, step**-exponent * cooled], axis=1) * weight[:, None]
            (floor, scale), rest = nnls(basis, loss * weight)
            if rest < best[0]:
                best = (float(rest), float(floor), float(scale), float(exponent))
        hot = best[1] + best[2] * step ** -best[3]
        if phi.max() < 0.05:
            break
        scatter = max(1e-4, float(np.std(loss / (hot * cooled) - 1.0)))
        w = (late / scatter) ** 2
        precision = float((w * phi**2).sum()) / 4.0 + GAIN_SD**-2  # blocks next to each other err together
        seen = float((w * phi * (1.0 - loss / hot)).sum()) / 4.0 + GAIN / GAIN_SD**2
        gain, gain_sd = seen / precision, precision**-0.5
    hot = best[1] + best[2] * step ** -best[3]
    scatter = float(np.std((loss / (hot * (1.0 - gain * phi)) - 1.0)[-40:]))
    return Hot(best[1], best[2], best[3], gain, gain_sd, scatter)


def _past_growth(curve: Curve, factor: Array) -> float:
    """Root mean square of what forecasts from earlier steps missed the curve of today by, per unit of ln(distance)."""
    now = float(curve.step[-1])
    recent = _recent(curve, factor)
    misses = []
    for share in (0.3, 0.45, 0.6, 0.75):
        seen = curve.until(share * now)
        if len(seen) < 12:
            continue
        fit = _fit(seen, factor[: len(seen)])
        misses.append((math.log(fit.at(now, float(factor[-1])) / recent) / math.log(1.0 / share)) ** 2)
    if not misses:
        return BLIND_GROWTH
    prior = PRIOR_LOOKS * PRIOR_GROWTH**2
    return math.sqrt((sum(misses) + prior) / (len(misses) + PRIOR_LOOKS))


def _left_since(history: list[InFlight], band: tuple[float, float] | None) -> float | None:
    """First step of the last unbroken stretch of looks whose median lies outside the band."""
    if band is None:
        return None
    since = None
    for look in history:
        outside = not band[0] <= look.median <= band[1]
        since = (since if since is not None else look.step) if outside else None
    return since
