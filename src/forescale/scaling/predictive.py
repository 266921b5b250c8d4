"""The predictive distribution of one new run: centre, spread and tails, from a laws record alone.

Spread = what the parameter draws disagree on at the target (fit, priors and form), error that grew with distance in the
rolling-origin check, scatter of the frontier, and seed noise; its scale and tails were measured on public ladders.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Laws, Predictive, Surface
from forescale.scaling import calibration

Array = npt.NDArray[np.float64]


def surface_log_loss(parameters: Array, size: float | Array, tokens: float | Array) -> Array:
    """ln L at one target for each row (E, A, alpha, B, beta, gamma), or of one row at each target."""
    floor, a, alpha, b, beta, g = parameters.T
    with np.errstate(divide="ignore"):
        model = (np.log(a) - alpha * np.log(size)) / g
        data = (np.log(b) - beta * np.log(tokens)) / g
        return np.asarray(np.logaddexp(np.log(floor), g * np.logaddexp(model, data)))


def law_log_loss(surface: Surface, size: Array, tokens: Array) -> Array:
    """ln L of one surface at each target [n]."""
    return surface_log_loss(np.array([row_of(surface)]), size, tokens)


def row_of(surface: Surface) -> list[float]:
    """The parameters in the order of `draws`."""
    return [surface.E, surface.A, surface.alpha, surface.B, surface.beta, surface.gamma]


def off_gate(away: float) -> float:
    """Share of the correction away from the best split: none up to 2.5% above the best loss, all from 7.5%."""
    return float(np.clip(away / 0.05 - 0.5, 0.0, 1.0))


@dataclass(frozen=True)
class Spread:
    """One target's distribution of ln loss: centre, and the relative standard deviations it is made of."""

    centre: float
    parameters: float
    growth: float
    scatter: float
    seed: float
    off: float

    @property
    def total(self) -> float:
        """All of it, before the calibration's tails."""
        return float(np.sqrt(self.parameters**2 + self.growth**2 + self.scatter**2 + self.seed**2 + self.off**2))


def centre_of(predictive: Predictive, size: float, tokens: float) -> float:
    """Weighted mean of the members' ln loss, and away from the best split what the ladder's runs there missed it by."""
    centre = members_mean(predictive, size, tokens)
    if not predictive.off:
        return centre
    away, ratio = off_optimum(predictive, size, tokens)
    at, shift = zip(*predictive.off, strict=True)
    return centre + off_gate(away) * float(np.interp(ratio, at, shift))


def members_mean(predictive: Predictive, size: float, tokens: float) -> float:
    """Weighted mean of the members' ln loss."""
    weights = np.array([m.weight for m in predictive.members])
    rows = np.array([row_of(m.surface) for m in predictive.members])
    return float(np.average(surface_log_loss(rows, size, tokens), weights=weights))


def distance(laws: Laws, size: float, tokens: float) -> float:
    """How far a target lies beyond the runs: the larger of ln compute, and of ln size and ln tokens beyond theirs."""
    if laws.largest is None:
        return 0.0
    flops = laws.flops_factor * size * tokens
    steps = (flops / laws.largest.flops, size / laws.largest.size, tokens / laws.largest.tokens)
    return float(max(0.0, *(np.log(s) for s in steps)))


def spread(laws: Laws, size: float, tokens: float) -> Spread:
    """The parts of a target's uncertainty."""
    predictive = laws.predictive
    assert predictive is not None
    centre = centre_of(predictive, size, tokens)
    draws = np.asarray(predictive.draws)
    parameters = float(surface_log_loss(draws, size, tokens).std()) if len(draws) else 0.0
    away = distance(laws, size, tokens)
    flops = laws.flops_factor * size * tokens
    ratio = flops / laws.largest.flops if laws.largest else 1.0
    beneath = max(0.0, float(np.log(laws.smallest_rung / flops))) if laws.smallest_rung else 0.0
    growth = float(np.hypot(predictive.sd_growth * np.sqrt(away), calibration.DOWNWARDS * beneath))
    seed = predictive.sd_seed * max(ratio**predictive.seed_slope, 0.25)
    off = predictive.sd_off * off_optimum(predictive, size, tokens)[0] if predictive.sd_off else 0.0
    return Spread(centre, parameters, growth, predictive.sd_fit, seed, off)


def off_optimum(predictive: Predictive, size: float, tokens: float) -> tuple[float, float]:
    """How far a run lies from what its compute could have been: ln(loss / loss at the best split), ln(size / best)."""
    surface = predictive.members[0].surface
    if min(surface.alpha, surface.beta, surface.A, surface.B) < 1e-12:
        return 0.0, 0.0
    exponent, log_coefficient = surface_split(surface)
    log_product = np.log(size) + np.log(tokens)
    best = float(np.exp(np.clip(log_coefficient + exponent * log_product, -300, 300)))
    here = members_mean(predictive, size, tokens)
    away = here - members_mean(predictive, best, float(np.exp(log_product)) / best)
    return max(0.0, away), float(np.log(size / best))


def surface_split(surface: Surface) -> tuple[float, float]:
    """Exponent and ln coefficient of the optimal size in size x tokens: where the loss is level along size."""
    total = surface.alpha + surface.beta
    log_ratio = np.log(surface.alpha / surface.beta) * surface.gamma + np.log(surface.A) - np.log(surface.B)
    return surface.beta / total, float(log_ratio / total)


def quantile(predictive: Predictive, probability: float) -> float:
    """Standardised error at a probability: linear in a normal's own quantile between the calibration's pairs, and in
    proportion to it beyond them, where nothing was measured."""
    normal = NormalDist().inv_cdf
    at, z = (np.array(v) for v in zip(*((normal(p), z) for p, z in predictive.quantiles), strict=True))
    wanted = normal(probability)
    if wanted < at[0]:
        return float(z[0] * wanted / at[0])
    if wanted > at[-1]:
        return float(z[-1] * wanted / at[-1])
    return float(np.interp(wanted, at, z))
