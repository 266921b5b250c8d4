"""One training curve and where it leads: every reasonable hot curve and gain of decay, weighted by how well each fits.

Hot (at peak rate) the loss is E + A S^-b, S being the learning rate summed over the steps, so that steps at a low rate
count less (Tissue et al., arXiv 2408.11029). A rate below its peak takes a share off it, loss = hot x (1 - G phi), with
phi(f) = (1 - f^p) / (1 - 0.1^p): G is the gain of a decay to a tenth. E and A are solved for; b, G, p, and the schedule
where it is in question, are summed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.scaling.logs import Curve
from forescale.scaling.rates import Rates

Array = npt.NDArray[np.float64]

GAIN, GAIN_SD = 0.052, 0.025
"""Gain of a decay to a tenth and its sd: the paper's Fig. 1 (2.42 to 2.33) and our tiny runs (4-10%) are within it."""
GAINS = np.linspace(0.0, 0.14, 15)
POWERS = np.array((0.4, 0.7, 1.0))
EXPONENTS = np.geomspace(0.1, 1.2, 22)
EXPONENT, EXPONENT_SD = 0.42, 0.5
"""Centre and ln sd of the exponents that are expected (our choice; published ones lie between 0.25 and 0.65)."""
REDUCIBLE = 0.35
"""Share of the present loss that more steps at peak rate could take off: half-normal scale (our choice)."""
CORRELATED = 4.0
"""Blocks that lie next to each other err together: evidence counts a quarter."""
BLOCKS = 90
EARLIEST, HIGHEST = 0.03, 1.7
"""Fitted from this share of the steps so far on, and where the loss is below this many times the present one."""
WANDER = 0.0015
"""Relative sd of a block that no number of points averages out."""


@dataclass(frozen=True)
class Ahead:
    """Mean and variance of the ln loss at the end, as this curve alone tells it, and the relative noise of a point."""

    mean: float
    variance: float
    noise: float
    schedules: dict[str, float]
    """Weight of each schedule in question."""


@dataclass(frozen=True)
class _Blocks:
    area: Array
    factor: Array
    loss: Array
    count: Array
    late: Array


def look_ahead(curve: Curve, ways: Sequence[Rates]) -> Ahead:
    """The loss at the end of these ways of the rate."""
    means, variances, weights, noise = [], [], [], math.nan
    spread: float | None = None
    for way in ways:
        blocks = _blocks(curve, way)
        mean, variance, weight, noise, spread = _sum_over(blocks, way, spread)
        means.append(mean)
        variances.append(variance)
        weights.append(weight + math.log(way.prior))
    log_weight = np.concatenate([w.ravel() for w in weights])
    top = log_weight.max()
    share = np.exp(log_weight - top)
    share /= share.sum()
    mean = np.concatenate([m.ravel() for m in means])
    variance = np.concatenate([v.ravel() for v in variances])
    centre = float(share @ mean)
    schedules = dict.fromkeys((way.name for way in ways), 0.0)
    for way, part in zip(ways, np.split(share, np.cumsum([w.size for w in weights])[:-1]), strict=True):
        schedules[way.name] += float(part.sum())
    return Ahead(
        centre,
        float(share @ (variance + (mean - centre) ** 2)),
        noise,
        schedules,
    )


def _blocks(curve: Curve, way: Rates) -> _Blocks:
    """Medians over log-spaced blocks of steps from where the curve is a power law; a drop of the rate splits one."""
    step, loss = np.maximum(curve.step, 1e-9), curve.loss
    now = step[-1]
    present = float(np.median(loss[-max(3, len(loss) // 20) :]))
    kept = (step >= EARLIEST * now) & (step > _below(step, loss, HIGHEST * present))
    if kept.sum() < min(12, len(step)):
        kept = np.zeros(len(step), dtype=bool)
        kept[-min(len(step), max(12, len(step) // 2)) :] = True
    first = int(np.argmax(kept))
    edges = np.geomspace(step[first], now * 1.0001, BLOCKS + 1)
    place = np.digitize(step, edges)
    cut = (np.abs(np.diff(np.log(np.maximum(way.factor, 1e-3)))) > 0.2).cumsum()
    place = place * 1000 + np.concatenate([[0], cut])
    rows = []
    for key in np.unique(place[first:]):
        p = np.flatnonzero((place == key) & (np.arange(len(step)) >= first))
        value = float(np.median(loss[p])) if len(p) > 2 else float(loss[p].mean())
        rows.append((way.area[p].mean(), way.factor[p].mean(), value, float(len(p)), step[p].mean() / now))
    area, factor, value, count, done = np.array(rows).T
    return _Blocks(area, factor, value, count, done**0.7)


def _below(step: Array, loss: Array, height: float) -> float:
    """Last step, within the first half, at which the loss (median of five) was still above a height."""
    if len(loss) < 10:
        return -1.0
    padded = np.pad(loss, 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    above = np.flatnonzero((smooth > height) & (np.arange(len(loss)) < len(loss) // 2))
    return float(step[above[-1]]) if len(above) else -1.0


def _sum_over(b: _Blocks, way: Rates, spread: float | None) -> tuple[Array, Array, Array, float, float]:
    """ln loss at the end, its variance and ln weight for every power, gain, exponent; noise of a point and a block."""
    scale = b.area[-1]
    x = (b.area / scale)[:, None] ** -EXPONENTS  # [K, b]
    x_end = (way.end_area / scale) ** -EXPONENTS
    weight = b.late / np.sqrt(1.0 / np.minimum(b.count, 40.0) + 0.02) / b.loss  # relative errors
    phi = (1 - b.factor[:, None] ** POWERS) / (1 - 0.1**POWERS)  # [K, p]
    phi_end = (1 - way.end_factor**POWERS) / (1 - 0.1**POWERS)
    cooled = 1 - GAINS[None, :, None] * phi.T[:, None, :]  # [p, G, K]
    robust = np.ones_like(weight)
    for last in (False, True):
        w = weight * robust
        u = cooled * w  # [p, G, K]
        y = b.loss * w
        uu = (u**2).sum(-1)[..., None]
        uv = (u**2) @ x
        vv = (u**2) @ x**2
        uy, vy = (u @ y)[..., None], (u * y) @ x
        det = np.maximum(uu * vv - uv**2, 1e-12 * uu * vv)
        floor, rise = (vv * uy - uv * vy) / det, (uu * vy - uv * uy) / det
        only_rise, only_floor = vy / vv, uy / uu
        rise = np.where(floor < 0, only_rise, rise)
        floor = np.maximum(floor, 0.0)
        floor = np.where(rise < 0, only_floor, floor)
        rise = np.maximum(rise, 0.0)
        misfit = (y @ y) - 2 * (floor * uy + rise * vy) + floor**2 * uu + 2 * floor * rise * uv + rise**2 * vv
        misfit = np.maximum(misfit, 0.0)
        k = np.unravel_index(int(misfit.argmin()), misfit.shape)
        fitted = cooled[k[0], k[1]] * (floor[k] + rise[k] * x[:, k[2]])
        residual = (b.loss / fitted - 1) * weight * b.loss
        if not last:  # blocks far off the curve are spikes; the newest are news
            far = np.abs(residual) / max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
            robust = np.where(far > 3, 3 / np.maximum(far, 1e-9), 1.0)
            robust[-max(3, len(robust) // 8) :] = 1.0
    per = float(misfit[k]) / max(len(b.loss) - 3.0, 1.0)
    noise = math.sqrt(per + 1e-9)
    spread = spread or per
    chance = -misfit / (2 * CORRELATED * (spread + WANDER**2))
    reducible = rise / np.maximum(floor + rise, 1e-12)
    chance = chance - 0.5 * ((GAINS - GAIN) / GAIN_SD)[None, :, None] ** 2
    chance = chance - 0.5 * (np.log(EXPONENTS / EXPONENT) / EXPONENT_SD) ** 2 - 0.5 * (reducible / REDUCIBLE) ** 2
    cold = 1 - GAINS[None, :] * phi_end[:, None]
    end = cold[..., None] * (floor + rise * x_end)
    variance = CORRELATED * (per + WANDER**2) * (vv - 2 * uv * x_end + uu * x_end**2) / det
    variance = np.minimum(variance * (cold[..., None] / end) ** 2, 0.04)
    return np.log(end), variance, chance, noise, spread
