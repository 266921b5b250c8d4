"""In flight: the final loss of a run as a distribution, from the part of its curve that is there.

`curve_fit` says where the curve leads. The width adds what no curve shows (the noise of one run, how the form errs with
distance, the part of a decay that is still to come), and is scaled by what the same method missed by when it looked
from earlier steps to now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from forescale.base.records.watch import InFlight, LeftBy, Rise, Watch
from forescale.scaling.curve_fit import GAIN, POWERS, Ahead, look_ahead
from forescale.scaling.logs import Curve, read_curve
from forescale.scaling.rates import Rates, possible

Array = npt.NDArray[np.float64]

GROWTH = 0.015
"""Relative sd per unit of ln(steps in all / steps done): how much the form itself errs (our choice)."""
TO_COME, AFTER_JUMP, FRESH = 0.4, 1.1, 0.3
"""Doubt about the gain of a decay: of the part to come, more where the rate so far has jumped (a jump shows the gain at
one rate only), and of what has just begun to act."""
JUMP = 0.5
"""A change of the ln rate from one logged point to the next that is a jump."""
NOISE = 0.002
"""Relative noise of one run's end that no curve can show (seed, batch order)."""
FREEDOM = 8.0
"""Degrees of freedom of the predictive Student t."""
BACK = (0.3, 0.45, 0.6, 0.75)
"""Shares of the steps so far from which the method looks to now."""
PRIOR_LOOKS, LEAST_SCALE = 3.0, 0.4
"""How many looks back the variance's own size counts for, and the least that good looks may shrink it to."""
LOOKS = 24
ENOUGH = 8
"""Logged points that a fit needs."""
BAND_FROM = 0.2
"""Progress at which the first in-flight interval becomes the band of a run that had no sealed forecast."""
RECENT = 0.04
"""Share of the steps that `loss now` is the mean of."""
SMOOTH = 5
"""Logged points that a rise is judged by."""
RISE, RISE_NOISE = 0.01, 5.0
"""A rise is named above this share of the loss and this many standard errors of SMOOTH points."""


def watch(
    source: str | Path | Curve,
    *,
    total_steps: float | None = None,
    interval: tuple[float, float] | None = None,
    level: float = 0.9,
    metric: str | None = None,
    columns: Sequence[str] = (),
    schedule: str | None = None,
) -> Watch:
    """Read a run's curve and say where it will end.

    `interval`: the sealed forecast, in the unit of the log (`metric` chooses loss or bpb). `columns`: NAME=COLUMN, as
    in `fit`: which loss is followed. `schedule`: the learning rate's (`rates.NAMES`), where the log does not tell it.
    """
    curve = source if isinstance(source, Curve) else read_curve(source, metric=metric, columns=columns)
    total = total_steps or curve.total_steps
    now = float(curve.step[-1])
    reason = _cannot_tell(curve, total)
    warnings = list(curve.warnings)
    if total_steps and curve.total_steps and abs(total_steps / curve.total_steps - 1) > 0.001:
        warnings.append(f"the log says {curve.total_steps:,.0f} steps in all; the {total_steps:,.0f} given are used")
    ways = possible(curve, total if total and total >= now else now, schedule)
    rise = rising(curve)
    if rise is not None:
        warnings.append(
            f"the loss has risen by {100 * rise.by:.1f}% since step {rise.since:,.0f}: a spike, or it diverges"
            + ("" if reason else "; the final loss supposes that it comes back")
        )
    history: list[InFlight] = []
    if reason is None:
        assert total is not None
        warnings += _of_rates(curve, ways)
        history = _history(curve, total, schedule, level)
    band = interval
    if band is None and total is not None:
        band = next((look.interval for look in history if look.step >= BAND_FROM * total), None)
    known = total is not None and total >= now
    left, left_by = _left(curve, history, band, rise)
    return Watch(
        source=curve.source,
        format=curve.format,
        columns=dict(curve.columns),
        other_losses=list(curve.others),
        unit=curve.unit,
        step=now,
        total_steps=total if known else None,
        progress=min(1.0, now / total) if known and total else None,
        loss=_recent(curve, ways[0].factor),
        final=history[-1] if history else None,
        reason=reason,
        level=level,
        schedules=look_ahead(curve, ways).schedules if history else {},
        history=history,
        band=band,
        left_since=left,
        left_by=left_by,
        rising=rise,
        warnings=warnings,
    )


def _cannot_tell(curve: Curve, total: float | None) -> str | None:
    """Why there is no final loss; None where there is one."""
    now = float(curve.step[-1])
    if curve.lost_since is not None:
        return (
            f"the loss has not been a positive finite number since step {curve.lost_since:,.0f}: the run has diverged"
        )
    if total is None:
        return "the log does not say how many steps the run has (--total-steps N does)"
    if total < now:
        return f"the run was to have {total:,.0f} steps, and the log is at step {now:,.0f} already (--total-steps N)"
    if len(curve) < ENOUGH:
        return f"only {len(curve)} logged points have a loss; a forecast needs {ENOUGH}"
    return None


def _of_rates(curve: Curve, ways: Sequence[Rates]) -> list[str]:
    """What is taken for granted of the learning rate."""
    names = list(dict.fromkeys(way.name for way in ways))
    if len(names) < 2:
        return []
    told = "the log has no learning rate" if not np.isfinite(curve.lr).any() else "the learning rate so far leaves open"
    return [f"{told}: the schedules {', '.join(names)} are weighed by how they fit (--schedule NAME says which it is)"]


def _history(curve: Curve, total: float, schedule: str | None, level: float) -> list[InFlight]:
    """The forecast from LOOKS steps, evenly spaced, each seeing only its past; the last one is now's."""
    now = float(curve.step[-1])
    looks = []
    for share in np.linspace(1.0 / LOOKS, 1.0, LOOKS):
        seen = curve.until(share * now + 1e-9)
        if len(seen) >= ENOUGH:
            looks.append(in_flight(seen, total, schedule, level))
    return looks


def in_flight(curve: Curve, total: float, schedule: str | None = None, level: float = 0.9) -> InFlight:
    """The final loss as this curve alone tells it."""
    now = float(curve.step[-1])
    ways = possible(curve, total, schedule)
    ahead = look_ahead(curve, ways)
    centre = ahead.mean
    if now >= 0.999 * total:  # ended: what was logged last, smoothed
        centre = math.log(_recent(curve, ways[0].factor))
    variance = _variance(curve, ahead, ways, total) * _scale_of_misses(curve, ahead, ways)
    half = float(student.ppf(0.5 + level / 2, FREEDOM)) * math.sqrt(variance)
    return InFlight(step=now, median=math.exp(centre), interval=(math.exp(centre - half), math.exp(centre + half)))


def _variance(curve: Curve, ahead: Ahead, ways: Sequence[Rates], total: float) -> float:
    """Variance of the ln loss at `total`: the fit's, and what no fit shows."""
    now = float(curve.step[-1])
    distance = math.log(max(total / now, 1.0))
    doubts = {way.name: _decay_doubt(curve, way) ** 2 for way in ways}
    decay = sum(share * doubts[name] for name, share in ahead.schedules.items())
    points = max(3.0, RECENT * len(curve) * total / now)  # that the end will be the mean of
    if now >= 0.999 * total:
        return NOISE**2 + ahead.noise**2 / points
    return ahead.variance + (GROWTH * distance) ** 2 + decay + NOISE**2 + ahead.noise**2 / points


def _decay_doubt(curve: Curve, way: Rates) -> float:
    """Relative sd of the end that comes from a decay which is still to come, or has only just begun to act."""
    done = curve.step / curve.step[-1]
    seen = _phi(way.factor[done >= 0.93]).mean()
    before = _phi(way.factor[(done >= 0.85) & (done < 0.93)].mean()) if ((done >= 0.85) & (done < 0.93)).any() else seen
    to_come = min(abs(float(_phi(np.float64(way.end_factor)) - seen)), 0.4)
    jumped = bool((np.abs(np.diff(np.log(np.maximum(way.factor, 1e-3)))) > JUMP).any())
    unsure = AFTER_JUMP if jumped else TO_COME
    return GAIN * math.hypot(unsure * to_come, FRESH * max(0.0, float(seen - before)))


def _phi(factor: Array | np.float64) -> Array:
    """Share of the gain to a tenth that a rate of `factor` x peak has realised, by the middle power."""
    return np.asarray((1.0 - factor ** POWERS[1]) / (1.0 - 0.1 ** POWERS[1]))


def _scale_of_misses(curve: Curve, ahead: Ahead, ways: Sequence[Rates]) -> float:
    """What looks from earlier steps missed today's loss by, over what their own variance said: scales the variance."""
    now = float(curve.step[-1])
    recent = math.log(_recent(curve, ways[0].factor))
    ratios = []
    for share in BACK:
        seen = curve.until(share * now)
        if len(seen) < ENOUGH:
            continue
        n = len(seen)  # how the rate went on is in the log by now
        known = [
            Rates("logged", way.factor[:n], way.area[:n], float(way.factor[-1]), float(way.area[-1]))
            for way in ways
            if way.name == ways[0].name
        ]
        earlier = look_ahead(seen, known)
        expected = _variance(seen, earlier, known, now) + ahead.noise**2 / SMOOTH
        ratios.append((earlier.mean - recent) ** 2 / expected)
    return max(LEAST_SCALE, (sum(ratios) + PRIOR_LOOKS) / (len(ratios) + PRIOR_LOOKS))


def recent_loss(curve: Curve) -> float:
    """The loss where the log ends: the mean of the last steps at one rate."""
    return _recent(curve, possible(curve, float(curve.step[-1]), None)[0].factor)


def _recent(curve: Curve, factor: Array) -> float:
    """Loss now: the mean of the last RECENT of the steps, as far as they ran at the present rate."""
    same = np.abs(factor - factor[-1]) <= 0.1 * factor[-1] + 1e-12
    at = (curve.step >= (1.0 - RECENT) * curve.step[-1]) & same
    if at.sum() < 3:
        at = same.copy()
        at[:-3] = False
    return float(curve.loss[at].mean())


def _smooth(curve: Curve) -> Array:
    """ln loss as the median of SMOOTH points; the first is at the point SMOOTH - 1."""
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(np.log(curve.loss), SMOOTH), axis=1))


def rising(curve: Curve) -> Rise | None:
    """Since when, and by how much, the loss has risen above its lowest by more than its noise; None: it has not."""
    log_loss = np.log(curve.loss)
    if len(log_loss) < 4 * SMOOTH:
        return None
    noise = 1.4826 * float(np.median(np.abs(np.diff(log_loss)))) / math.sqrt(2.0)
    smooth = _smooth(curve)
    lowest = int(smooth.argmin())
    by = float(smooth[-1] - smooth[lowest])
    error = noise / math.sqrt(SMOOTH)
    if by < RISE + RISE_NOISE * error:
        return None
    low = np.flatnonzero(smooth <= smooth[lowest] + max(2.0 * error, min(0.1 * by, RISE)))
    return Rise(since=float(curve.step[low[-1] + SMOOTH - 1]), by=math.expm1(by))


def _left(
    curve: Curve, history: list[InFlight], band: tuple[float, float] | None, rise: Rise | None
) -> tuple[float | None, LeftBy | None]:
    """Since when, and by what, the run is outside its band: its loss where it rises, else its expected final loss.

    A forecast from within a rise supposes that the loss comes back and leaves the band late, or not at all.
    """
    by_forecast = _left_since(history, band)
    if rise is None or band is None or (by_forecast is not None and by_forecast < rise.since):
        return by_forecast, None if by_forecast is None else "forecast"
    by_loss = _risen_out(curve, history, band, rise)
    if by_loss is not None:
        return by_loss, "loss"
    return by_forecast, None if by_forecast is None else "forecast"


def _risen_out(curve: Curve, history: list[InFlight], band: tuple[float, float], rise: Rise) -> float | None:
    """First step since which the loss, less all the fall that was to come before its rise, stays above the band."""
    before = [look for look in history if look.step <= rise.since]
    step, smooth = curve.step[SMOOTH - 1 :], _smooth(curve)
    if not before or before[-1].step < step[0]:
        return None
    last = before[-1]
    to_come = math.log(last.median) - float(smooth[np.flatnonzero(step <= last.step)[-1]])
    inside = np.flatnonzero(smooth + min(to_come, 0.0) <= math.log(band[1]))
    first = int(inside[-1]) + 1 if len(inside) else 0
    return None if first >= len(step) else float(step[first])


def _left_since(history: list[InFlight], band: tuple[float, float] | None) -> float | None:
    """First step of the last unbroken stretch of looks whose median lies outside the band."""
    if band is None:
        return None
    since = None
    for look in history:
        outside = not band[0] <= look.median <= band[1]
        since = (since if since is not None else look.step) if outside else None
    return since
