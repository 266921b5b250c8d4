"""A learning rate or batch away from the best one: how the loss rises around it, and what a forecast is charged for it.

ln L rises by S(u, v) = hx f(u; sx) + hy f(v; sy) + r u v, u and v the logs of learning rate and batch over the best
ones; f(u; s) = (e^{su} - su - 1) / s², which is u²/2 for s = 0 and rises faster on one side else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import PowerLaw

Array = npt.NDArray[np.float64]

CURVATURE = (0.012, 0.010)
"""d² ln L / d ln(lr)² and / d ln(batch)²: middle of the Step Law's public cells (Li et al., arXiv 2503.04715) and of
the paper's Fig. 2b. Where laws hold no response of their own, a forecast is charged by it."""
SKEW = (0.4, 0.2)
"""s of learning rate and batch, from the same cells: too high costs more than too low."""
REACH = 4.0
"""Beyond this factor in ln (55 times) the rise counts as at it: no sweep that we know reaches further."""
MAX_COUPLING = 0.9
"""Largest share of a quadratic's rise that learning rate and batch may make up for one another."""
NAMES = {"lr": "learning rate", "batch_tokens": "batch"}


def linex(u: Array, s: float) -> Array:
    """f(u; s)."""
    u = np.clip(u, -REACH, REACH)
    if abs(s) < 1e-3:
        return np.asarray(0.5 * u**2 + s * u**3 / 6.0)
    return np.asarray((np.expm1(s * u) - s * u) / s**2)


@dataclass(frozen=True)
class OffBest:
    """One of the two away from its best: ln of what the loss rises by, and by whose word."""

    rise: float
    why: str


def off_best(
    rate_law: PowerLaw | None, batch_law: PowerLaw | None, best: Mapping[str, float | None], named: Mapping[str, float]
) -> dict[str, OffBest]:
    """What each named value costs, where a law knows the best one. `best`, `named`: `lr` and `batch_tokens`.

    A value that is not named is taken to be the best. What one makes up for of the other is shared between the two in
    proportion to what each costs alone.
    """
    laws = {"lr": rate_law, "batch_tokens": batch_law}
    away = {
        name: math.log(value / at)
        for name, value in named.items()
        if name in laws and laws[name] is not None and (at := best.get(name)) is not None
    }
    alone = {name: _alone(name, laws[name], distance) for name, distance in away.items()}
    both = sum(alone.values())
    cross = _cross(rate_law) * math.prod(max(-REACH, min(REACH, d)) for d in away.values()) if len(away) == 2 else 0.0
    share = 1.0 if both <= 0 else max(1.0 - MAX_COUPLING, 1.0 + cross / both)
    return {
        name: OffBest(alone[name] * share, _why(name, laws[name], float(best[name] or 0.0), away[name]))
        for name in away
    }


def _alone(name: str, law: PowerLaw | None, away: float) -> float:
    """hx f(u; sx) or hy f(v; sy): the law's own, else that of the public sweeps."""
    place = list(NAMES).index(name)
    curvature, skew = CURVATURE[place], SKEW[place]
    if law is not None and law.curvature is not None:
        curvature, skew = law.curvature, law.skew or 0.0
    return curvature * float(linex(np.array(away), skew))


def _cross(law: PowerLaw | None) -> float:
    return 0.0 if law is None or law.cross is None else law.cross


def _why(name: str, law: PowerLaw | None, best: float, away: float) -> str:
    """How far it lies from the best, and where the curvature comes from."""
    said = f"at {_times(away)} the best {NAMES[name]} there, {best:.4g}"
    said += f", counted as {_times(math.copysign(REACH, away))}" if abs(away) > REACH else ""
    if law is None or law.curvature is None:
        return f"{said}; by public sweeps' response (these laws hold none of their own)"
    said += "; by the runs' own response"
    if law.tried is not None and not law.tried[0] <= away <= law.tried[1]:
        said += f", tried from {_times(law.tried[0])} to {_times(law.tried[1])} the best"
    return said


def _times(away: float) -> str:
    """A distance in ln as a factor.

    >>> _times(math.log(9.713)), _times(math.log(0.015))
    ('9.71 x', '0.015 x')
    """
    return f"{math.exp(away):.3g} x"
