"""The learning rate of a run over its peak, at every logged step and up to the end: as logged, told, or in question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ConfigError
from forescale.base.records.spec import MULTI_STEP
from forescale.scaling.logs import Curve

Array = npt.NDArray[np.float64]
Shape = Callable[[Array], Array]
"""Share of the run -> rate over its peak."""

NEAR = 0.02
"""Rates this near a schedule (root mean square, of the peak) follow it."""
GRID = 2000
"""Points at which a rate is summed over the run."""
LAST = 0.2
"""Share of the run over which a decay at the end is taken to go, where it has not begun (as in the paper)."""
CLOCKS = (1.0, 0.0)
"""Hot progress is counted in the rate summed over steps (1) or in steps (0): there are laws of both kinds."""
NAMES = "multi_step, constant, cosine, linear, wsd; `cosine:0.1` ends at a tenth of the peak"


@dataclass(frozen=True)
class Rates:
    """One way that the rate may go, as far as the fit needs it."""

    name: str
    factor: Array
    """Rate over its peak at the logged steps."""
    area: Array
    """The factor to the power of a clock, summed over the steps up to each logged one."""
    end_factor: float
    end_area: float
    prior: float = 1.0
    """Weight before any loss is looked at."""


def possible(curve: Curve, total: float, schedule: str | None) -> list[Rates]:
    """How the rate may go on: one where the schedule is told or the logged rates follow one, else several."""
    if schedule is None:
        schedule = curve.schedule
    done = np.clip(curve.step / total, 0.0, 1.0)
    logged = _logged(curve)
    if schedule is not None:
        shapes = {schedule: named(schedule)}
    elif logged is None:
        words = ("multi_step", "cosine:0.1", "cosine", "linear", "wsd", "constant")
        shapes = {word: named(word) for word in words}
    else:
        shapes = _going_on(done, logged)
    return [_rates(name, shape, done, logged, clock) for name, shape in shapes.items() for clock in CLOCKS]


def named(text: str) -> Shape:
    """A schedule by name, with the factor it ends at after a colon.

    >>> float(named("cosine:0.1")(np.array([1.0]))[0])
    0.1
    """
    name, colon, last = text.partition(":")
    if name not in ("multi_step", "constant", "cosine", "linear", "wsd") or (
        colon and (name in ("multi_step", "constant") or not re.fullmatch(r"0?\.\d+|[01](\.0*)?", last))
    ):
        raise ConfigError(f"--schedule {text} is not known", remedy=f"known: {NAMES}", key="schedule")
    floor = float(last) if colon else 0.0
    if name == "multi_step":
        return lambda done: _steps(done, MULTI_STEP)
    if name == "constant":
        return np.ones_like
    if name == "cosine":
        return lambda done: floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * np.clip(done, 0, 1)))
    if name == "linear":
        return lambda done: floor + (1 - floor) * (1 - np.clip(done, 0, 1))
    return lambda done: floor + (1 - floor) * np.clip((1 - done) / LAST, 0.0, 1.0)


def _steps(done: Array, points: tuple[tuple[float, float], ...]) -> Array:
    value = np.ones_like(done)
    for start, height in points:
        value = np.where(done >= start, height, value)
    return np.asarray(value, dtype=float)


def _logged(curve: Curve) -> Array | None:
    """The logged rate over its peak, 1 up to the peak (warm-up is no decay); None where the log has none."""
    known = np.isfinite(curve.lr)
    if known.sum() < 2 or np.nanmax(curve.lr) <= 0:
        return None
    rate = np.interp(curve.step, curve.step[known], curve.lr[known])
    factor = rate / rate.max()
    factor[: int(np.argmax(rate >= 0.999 * rate.max()))] = 1.0
    return np.asarray(factor)


def _going_on(done: Array, factor: Array) -> dict[str, Shape]:
    """What the logged rates lead to: the schedule they follow; while they are constant, every one that may come."""
    now = float(done[-1])
    if factor.min() > 0.99:
        if now < 1 - LAST:
            return {name: named(name) for name in ("multi_step", "wsd", "constant")}
        left = 1.0 - now  # a decay that has not begun has only the rest of the run
        return {"constant": named("constant"), "decay": lambda x: np.clip((1.0 - x) / max(left, 1e-9), 0.0, 1.0)}
    found: dict[str, tuple[float, Shape]] = {}
    start = float(done[int(np.argmax(factor < 0.999))])
    for name in ("cosine", "linear"):
        for begin in (0.0, start):  # warm-up may count as part of the decay, or be before it
            bare = _later(named(name), begin)(done)
            under = np.asarray(1.0 - bare)
            floor = float(np.clip(float(under @ (factor - bare)) / max(float(under @ under), 1e-12), 0.0, 1.0))
            shape = _later(named(f"{name}:{floor:.4f}" if 0 < floor < 1 else f"{name}:{floor:.0f}"), begin)
            miss = float(np.sqrt(np.mean((shape(done) - factor) ** 2)))
            key = f"{name}:{floor:.2g}"
            if key not in found or miss < found[key][0]:
                found[key] = (miss, shape)
    paper = named("multi_step")
    found["multi_step"] = (float(np.sqrt(np.mean((paper(done) - factor) ** 2))), paper)
    best = min(miss for miss, _ in found.values())
    if best < NEAR:  # early in a decay several are as near
        return {name: shape for name, (miss, shape) in found.items() if miss <= max(3 * best, 0.002)}
    last = float(factor[-1])
    held = float(done[int(np.argmax(factor <= last * 1.01))])
    if now - held > 0.03:  # on a step of its own: held to the end, or falling to nothing
        return {"as now": lambda x: np.full_like(x, last)}
    slope = (last - float(np.interp(now - 0.05, done, factor))) / 0.05
    return {"as now": lambda x: np.clip(last + min(slope, 0.0) * (x - now), 0.0, 1.0)}


def _later(shape: Shape, begin: float) -> Shape:
    """A schedule that begins after a share of the run."""
    span: float = max(1e-9, 1.0 - begin)
    return lambda x: shape(np.clip((x - begin) / span, 0.0, 1.0))


def _rates(name: str, shape: Shape, done: Array, logged: Array | None, clock: float) -> Rates:
    """Area and factor: as logged up to now, by the shape from there on."""
    grid = (np.arange(GRID) + 0.5) / GRID
    ahead = shape(grid)
    now = float(done[-1])
    factor = shape(done) if logged is None else logged
    behind = np.interp(grid, done, factor)
    height = np.where(grid <= now, behind, ahead) ** clock
    edges = np.concatenate([[0.0], np.cumsum(height)]) / GRID
    area = np.interp(done, np.linspace(0.0, 1.0, GRID + 1), edges)
    # a decay that has not begun late in the run is ever less likely to come
    prior = max(0.02, (1.0 - now) / LAST) if name == "decay" else 1.0
    return Rates(name, factor, np.maximum(area, 1e-9), float(shape(np.array([1.0]))[0]), float(edges[-1]), prior)
