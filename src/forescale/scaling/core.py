"""From cells to a predictive distribution: members, draws, rolling origins. What a fit and its self-check share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Largest, Laws, Member, Predictive, Scale, SelfCheck, Surface
from forescale.scaling import calibration
from forescale.scaling.belief import bad_runs, believed
from forescale.scaling.ensemble import (
    MEMBERS,
    PLAIN,
    Fitted,
    draw_members,
    fit_members,
    mean_log_loss,
    member_weights,
)
from forescale.scaling.noise import Cells, NoiseLaw
from forescale.scaling.predictive import members_mean, off_gate, off_optimum, quantile, spread
from forescale.scaling.rolling import Rolling, roll
from forescale.scaling.surfaces import Form, from_surface, to_surface

Array = npt.NDArray[np.float64]

OFF_FROM = 0.03
"""ln(loss / best loss at this compute) from which a cell says how runs scatter away from the frontier."""
OFF_WIDTH = 0.5
"""Standard deviation, in ln(size / best), over which runs away from the best split are averaged."""
LEAST_WEIGHT = 0.005
"""Members that count less are left out."""
MOSTLY = 0.5
"""Belief in the fit to the whole ladder from which runs that it does not explain are called bad."""
FRONTIER = 5.0
"""Cells within this factor of the largest compute say how runs scatter at the frontier."""


@dataclass(frozen=True)
class Core:
    """Fitted members, their draws, the rolling-origin check, and the record made of them."""

    members: list[Fitted]
    """The one that counts most comes first."""
    drawn: list[Fitted]
    rolling: Rolling
    predictive: Predictive
    largest: Largest
    bad: list[tuple[int, float]]
    """Cells that a believed law does not explain, and their ln(loss / law)."""

    def surfaces(self, which: int = 0) -> list[Surface]:
        """Draws of one member as surfaces."""
        fitted = self.drawn[which]
        return [to_surface(fitted.form.name, theta, fitted.frame) for theta in fitted.theta]


def fit_core(
    cells: Cells, noise: NoiseLaw, forms: tuple[Form, ...] = MEMBERS, *, n_draws: int = 300,
    pinned: Surface | None = None,
) -> Core:  # fmt: skip
    """Fit the forms, draw from what they leave open, and look at how their forecasts fared inside the ladder."""
    members = fit_members(cells, forms)
    if pinned is not None:  # the lowest optimum of many starts; draws begin there, and not in the basin of the batch's
        (plain,) = members
        members = [replace(plain, theta=from_surface(pinned, plain.frame)[None])]
    belief = believed(cells, members)
    weights = member_weights(members, belief)
    bad = bad_runs(cells, members) if belief >= MOSTLY else []
    counting = [int(i) for i in np.argsort(-weights, kind="stable") if weights[i] >= LEAST_WEIGHT]
    members, weights = [members[i] for i in counting], weights[counting] / weights[counting].sum()
    drawn = draw_members(cells, members, weights, n_draws)
    rolling = roll(cells, members, weights)
    surfaces = [to_surface(m.form.name, m.theta[0], m.frame, float(m.objective[0])) for m in members]
    if pinned is not None:
        surfaces = [pinned]
    draws = [to_surface(d.form.name, theta, d.frame) for d in drawn for theta in d.theta]
    ratios = cells.tokens / cells.size
    scatter = calibration.SCATTER_SHARE * _scatter(cells, members, weights, noise)
    predictive = Predictive(  # what it is made of first: the rest is measured with it
        members=[Member(surface=s, weight=_short(w)) for s, w in zip(surfaces, weights, strict=True)],
        draws=[[_short(v) for v in (s.E, s.A, s.alpha, s.B, s.beta, s.gamma)] for s in draws],
        sd_fit=float(np.hypot(scatter, calibration.LEAST_SD)),
        sd_growth=growth(rolling, cells, local_slope(cells, members, weights)),
        sd_seed=noise.sd,
        seed_slope=noise.slope,
        ratio=(float(ratios.min()), float(ratios.max())),
        quantiles=list(calibration.QUANTILES),
    )
    predictive = predictive.model_copy(update=_off(cells, predictive))
    return Core(members, drawn, rolling, predictive, largest_of(cells), bad)


def largest_of(cells: Cells) -> Largest:
    """What extrapolation is measured from."""
    return Largest(flops=float(cells.flops.max()), size=float(cells.size.max()), tokens=float(cells.tokens.max()))


def _short(value: float) -> float:
    """Eight digits: plenty, and a laws.json of a readable size."""
    return float(f"{value:.8g}")


def _scatter(cells: Cells, members: list[Fitted], weights: Array, noise: NoiseLaw) -> float:
    """Relative scatter of the frontier's cells around the surface beyond seed noise."""
    residual = np.log(cells.loss) - mean_log_loss(members, cells.size, cells.tokens, weights)[0]
    order = np.argsort(-cells.flops)
    frontier = cells.flops >= cells.flops.max() / FRONTIER
    frontier[order[: min(8, len(cells))]] = True
    variance = float(np.median(np.abs(residual[frontier])) * 1.4826) ** 2
    return float(np.sqrt(max(variance - float(np.median(cells.noise[frontier])) ** 2, 0.0)))


def _off(cells: Cells, predictive: Predictive) -> dict[str, object]:
    """What runs away from the best split miss the surface by, smoothed along ln(size / best), and how they scatter
    around that: fits look at the frontier and err elsewhere, much the same way at every budget (decision 0106)."""
    pairs = [(float(n), float(d)) for n, d in zip(cells.size, cells.tokens, strict=True)]
    away, ratio = np.array([off_optimum(predictive, n, d) for n, d in pairs]).T
    residual = np.clip(np.log(cells.loss) - [members_mean(predictive, n, d) for n, d in pairs], -0.5, 0.5)
    at = np.arange(ratio.min(), ratio.max() + OFF_WIDTH / 2, OFF_WIDTH / 2)
    kernel = np.exp(-0.5 * ((at[:, None] - ratio) / OFF_WIDTH) ** 2) * (cells.flops / cells.flops.max()) ** 0.5
    shift = kernel @ residual / (kernel.sum(axis=1) + calibration.OFF_PRIOR)
    left = residual - np.array([off_gate(a) for a in away]) * np.interp(ratio, at, shift)
    far = away > OFF_FROM
    sd = float(np.sqrt((left[far] ** 2).sum() / (away[far] ** 2).sum())) if far.sum() >= 2 else 0.5
    return {"off": [(_short(float(x)), _short(float(y))) for x, y in zip(at, shift, strict=True)], "sd_off": sd}


def local_slope(cells: Cells, members: list[Fitted], weights: Array) -> float:
    """-d ln L / d ln C at the best run of the largest compute."""
    top = int(np.where(cells.flops >= 0.99 * cells.flops.max(), cells.loss, np.inf).argmin())
    size, tokens = cells.size[top : top + 1], cells.tokens[top : top + 1]
    further = mean_log_loss(members, size * np.exp(0.5), tokens * np.exp(0.5), weights)
    return float(max(0.0, (mean_log_loss(members, size, tokens, weights) - further)[0, 0]))


def growth(rolling: Rolling, cells: Cells, slope: float) -> float:
    """Relative error at e-fold extrapolation: rolling-origin forecasts, shrunk towards the public ladders'."""
    prior = max(calibration.GROWTH * slope**2, 1e-4)
    if not len(rolling):
        return calibration.UNCHECKED * prior
    # Late origins and the frontier say most about the target: both are weighted by their compute.
    top = float(cells.flops.max())
    weight = (rolling.origin / top) ** 0.5 * np.minimum(cells.flops[rolling.cell] / top, 1.0) ** 0.25
    rate = np.abs(rolling.error) / np.sqrt(np.maximum(rolling.distance, 0.7))
    mean_square = float((weight * np.minimum(rate, 0.1) ** 2).sum() / weight.sum())
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    own = calibration.GROWTH_SHARE * np.sqrt(mean_square)
    share = effective / (effective + calibration.GROWTH_COUNT)
    return float(np.exp(share * np.log(max(own, 1e-4)) + (1 - share) * np.log(prior)))


def laws_of(core: Core, scale: Scale, level: float) -> Laws:
    """The least laws record that a forecast needs."""
    return Laws(scale=scale, level=level, largest=core.largest, predictive=core.predictive)


def self_check(
    cells: Cells, noise: NoiseLaw, core: Core, scale: Scale, level: float, n_draws: int = 120
) -> tuple[SelfCheck | None, float, float]:
    """Hide the largest budgets, fit the rest the same way, and forecast every hidden cell with its interval.

    Also gives the factor on the spread that these forecasts ask for (ladders whose own largest budgets came out as
    forecast earn a narrower interval, those that did not a wider one), and the hidden cells' mean standardised error:
    above 0 where they ended higher than forecast.
    """
    if not len(core.rolling):
        return None, 1.0, 0.0
    origins = np.unique(core.rolling.origin)[::-1]
    counts = np.array([(core.rolling.origin == origin).sum() for origin in origins])
    enough = np.flatnonzero(counts >= 3)
    origin = float(origins[enough[0] if len(enough) else -1])
    seen = cells.flops <= origin * (1 + 1e-9)
    forms = tuple(m.form for m in core.members)
    pinned = None
    if forms == (PLAIN,):
        from forescale.scaling.pinned import fit_chinchilla

        inner = cells.take(seen)
        pinned = fit_chinchilla(inner.size, inner.tokens, inner.loss)
    part = fit_core(cells.take(seen), noise, forms, n_draws=n_draws, pinned=pinned)
    laws = laws_of(part, scale, level)
    hidden = cells.take(~seen)
    parts = [spread(laws, float(n), float(d)) for n, d in zip(hidden.size, hidden.tokens, strict=True)]
    centre = np.array([p.centre for p in parts])
    z = (np.log(hidden.loss) - centre) / np.array([p.total for p in parts])
    low, high = quantile(part.predictive, 0.5 - level / 2), quantile(part.predictive, 0.5 + level / 2)
    check = SelfCheck(
        held_out_above=origin,
        median_error=float(np.median(np.abs(np.exp(centre) / hidden.loss - 1))),
        coverage=float(np.mean((z >= low) & (z <= high))),
        n=len(z),
    )
    # Hidden cells share one origin: together they count as a few, however many they are; of a small ladder as fewer.
    count = min(len(z), calibration.CHECK_COUNT, len(cells) // 6)
    asked = (calibration.CHECK_PRIOR + count * float(np.mean(z**2))) / (calibration.CHECK_PRIOR + count)
    return check, float(np.clip(np.sqrt(asked), *calibration.CHECK_RANGE)), float(np.mean(z))
