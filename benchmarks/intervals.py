"""Intervals on public ladders: what they hold, and what each part of them is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmarks.cuts import CUTS, cells_of, split
from benchmarks.scores import LEVELS, winkler
from benchmarks.suites import Suite
from forescale.scaling.core import fit_core, laws_of, self_check
from forescale.scaling.ensemble import PLAIN, fit_batch
from forescale.scaling.noise import DEFAULT_SD, NoiseLaw
from forescale.scaling.predictive import spread

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """One suite at one cut: errors ln(predicted / actual), spreads and their parts, and where the targets lie."""

    suite: Suite
    cut: int
    error: Array
    loss: Array
    ratio: Array
    draws: Array
    """Relative sd of the draws, and of seed noise, together."""
    growth: Array
    around: Array
    """Scatter at the frontier and away from the best split, together."""
    factor: float
    """What the self-check asks the spread to be multiplied by."""

    @property
    def spread(self) -> Array:
        return self.factor * np.sqrt(self.draws**2 + self.growth**2 + self.around**2)


def score(suite: Suite, cut: int) -> Scored | None:
    """Fit what the cut shows, forecast the rest; None where it shows too little."""
    keep = split(suite, cut)
    if keep is None:
        return None
    cells = cells_of(suite, keep)
    noise = NoiseLaw(DEFAULT_SD, 0.0, float(cells.flops.max()), measured=False)
    core = fit_core(cells, noise)
    _, factor, _ = self_check(cells, noise, core, "N2", 0.9)
    laws = laws_of(core, "N2", 0.9)
    parts = [spread(laws, float(n), float(d)) for n, d in zip(suite.size[~keep], suite.tokens[~keep], strict=True)]
    return Scored(
        suite, cut,
        error=np.array([p.centre for p in parts]) - np.log(suite.loss[~keep]),
        loss=suite.loss[~keep],
        ratio=suite.flops[~keep] / suite.flops[keep].max(),
        draws=np.array([np.hypot(p.parameters, p.seed) for p in parts]),
        growth=np.array([p.growth for p in parts]),
        around=np.array([np.hypot(p.scatter, p.off) for p in parts]),
        factor=factor,
    )  # fmt: skip


SYMMETRIC = 0.7
"""Share of the tails that is the mean of both sides."""
NORMAL = 0.5
"""Share of the tails that is a normal's: quartiles of five families' errors, alone, held 44% of the others'."""


def quantiles(scored: list[Scored], probabilities: Array) -> Array:
    """Weighted quantiles of the standardised ln(actual / predicted), every family counting the same."""
    z = np.concatenate([-s.error / s.spread for s in scored])
    share = {f: sum(s.suite.family == f for s in scored) for f in {s.suite.family for s in scored}}
    w = np.concatenate([np.full(len(s.error), 1 / (len(s.error) * share[s.suite.family])) for s in scored])
    order = np.argsort(z)
    cumulated = (np.cumsum(w[order]) - 0.5 * w[order]) / w.sum()
    values = np.interp(probabilities, cumulated, z[order])
    mirrored = -np.interp(1 - probabilities, cumulated, z[order])
    measured = SYMMETRIC * (values + mirrored) / 2 + (1 - SYMMETRIC) * values
    return NORMAL * norm.ppf(probabilities) + (1 - NORMAL) * measured


def tails_elsewhere(one: Scored, scored: list[Scored], level: float) -> tuple[float, float]:
    """Standardised ends of an interval, from the other families."""
    others = [s for s in scored if s.suite.family != one.suite.family]
    low, high = quantiles(others, np.array([0.5 - level / 2, 0.5 + level / 2]))
    return float(low), float(high)


def interval_of(one: Scored, spread: Array, tails: tuple[float, float]) -> tuple[Array, Array]:
    """Losses between which the outcomes are expected."""
    predicted = one.loss * np.exp(one.error)
    return predicted * np.exp(tails[0] * spread), predicted * np.exp(tails[1] * spread)


STEPS: dict[str, Callable[[Scored], Array]] = {
    "our draws and seed noise alone": lambda s: s.draws,
    "+ growth with distance, from rolling origins": lambda s: np.hypot(s.draws, s.growth),
    "+ scatter at the frontier and away from the best split": lambda s: s.spread / s.factor,
    "+ the self-check's factor": lambda s: s.spread,
}
"""What a spread is made of, part by part; normal tails."""


def steps_table(scored: list[Scored], suites: list[Suite]) -> list[str]:
    """Each part of the interval added in turn."""
    lines = [
        "| 90% intervals | coverage at 50% | at 80% | at 90% | lowest suite at 90% | width % | Winkler % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        bootstrap_row(suites),
    ]
    rows: dict[str, Callable[[Scored, float], tuple[Array, Array]]] = {
        name: lambda one, level, part=part: interval_of(one, part(one), _normal(level)) for name, part in STEPS.items()
    }
    rows["+ tails from the other families (ours)"] = lambda one, level: interval_of(
        one, one.spread, tails_elsewhere(one, scored, level)
    )
    seen = [s for s in scored if s.cut in CUTS]
    for name, ends in rows.items():
        cover = {level: [_held(one, *ends(one, level)) for one in seen] for level in LEVELS}
        low_high = [(one, *ends(one, 0.9)) for one in seen]
        lines.append(
            _row(
                name,
                [one.suite.name for one in seen],
                cover,
                [100 * float(((high - low) / one.loss).mean()) for one, low, high in low_high],
                [100 * float(winkler(low, high, one.loss).mean()) for one, low, high in low_high],
            )
        )
    return lines


def _normal(level: float) -> tuple[float, float]:
    high = float(norm.ppf(0.5 + level / 2))
    return -high, high


def _held(one: Scored, low: Array, high: Array) -> float:
    return float(((one.loss >= low) & (one.loss <= high)).mean())


def _row(name: str, suites: list[str], cover: dict[float, list[float]], width: list[float], points: list[float]) -> str:
    lowest, at = _lowest(suites, cover[0.9])
    levels = " | ".join(f"{np.mean(cover[level]):.2f}" for level in LEVELS)
    return f"| {name} | {levels} | {lowest} {at:.2f} | {np.mean(width):.1f} | {np.mean(points):.1f} |"


def _lowest(suites: list[str], cover: list[float]) -> tuple[str, float]:
    """The suite that is held least, over its cuts."""
    means = {name: float(np.mean([c for n, c in zip(suites, cover, strict=True) if n == name])) for name in suites}
    worst = min(means, key=lambda name: means[name])
    return worst, means[worst]


def intervals_table(scored: list[Scored]) -> list[str]:
    lines = []
    rows: dict[float, list[tuple[Scored, Array, float, float]]] = {}
    for level in LEVELS:
        for one in scored:
            if one.cut not in CUTS:
                continue
            bottom, top = interval_of(one, one.spread, tails_elsewhere(one, scored, level))
            inside = (one.loss >= bottom) & (one.loss <= top)
            points = winkler(bottom, top, one.loss, level)
            rows.setdefault(level, []).append(
                (one, inside, 100 * float(((top - bottom) / one.loss).mean()), 100 * float(points.mean()))
            )
    lines += ["| level | coverage | 90% interval of it, by family | lowest suite | width % | Winkler % |",
              "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for level, found in rows.items():
        cover = [float(inside.mean()) for _, inside, _, _ in found]
        low, high = _clustered([r[0].suite.family for r in found], cover)
        worst, lowest = _lowest([r[0].suite.name for r in found], cover)
        lines.append(
            f"| {level:.0%} | {np.mean(cover):.2f} | {low:.2f} to {high:.2f} | {worst} {lowest:.2f} |"
            f" {np.mean([r[2] for r in found]):.1f} | {np.mean([r[3] for r in found]):.1f} |"
        )
    lines += ["", "| suite (kind) | cut | coverage of 90% | width % | Winkler % |", "| --- | --- | --- | --- | --- |"]
    for one, inside, width, points in sorted(rows[0.9], key=lambda r: (r[0].suite.name, r[0].cut)):
        lines.append(
            f"| {one.suite.name} ({one.suite.kind}) | {one.cut}x | {inside.mean():.2f} | {width:.1f} | {points:.1f} |"
        )
    lines += [
        "",
        "| true distance of the target | targets | mean error % | coverage of 90% |",
        "| --- | --- | --- | --- |",
    ]
    for low, high in ((1, 3), (3, 10), (10, 30), (30, 100), (100, 1000)):
        errors, cover = [], []
        for one, inside, _, _ in rows[0.9]:
            near = (one.ratio >= low) & (one.ratio < high)
            errors += list(100 * np.abs(np.expm1(one.error[near])))
            cover += list(inside[near])
        if errors:
            lines.append(f"| {low}-{high}x | {len(errors)} | {np.mean(errors):.2f} | {np.mean(cover):.2f} |")
    return lines


def _clustered(families: list[str], values: list[float], draws: int = 2000) -> tuple[float, float]:
    """Bootstrap over families: suites of one group are not independent."""
    rng = np.random.default_rng(0)
    names = sorted(set(families))
    groups = [[v for f, v in zip(families, values, strict=True) if f == n] for n in names]
    means = [
        np.mean(np.concatenate([groups[i] for i in rng.integers(0, len(names), len(names))])) for _ in range(draws)
    ]
    return float(np.quantile(means, 0.05)), float(np.quantile(means, 0.95))


def bootstrap_row(suites: list[Suite], draws: int = 100) -> str:
    """What a percentile bootstrap of the published fit covers."""
    rng = np.random.default_rng(0)
    names, width, points = [], [], []
    cover: dict[float, list[float]] = {level: [] for level in LEVELS}
    for suite in suites:
        for cut in CUTS:
            keep = split(suite, cut)
            if keep is None:
                continue
            cells = cells_of(suite, keep)
            counts = rng.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=draws).astype(float)
            ahead = np.exp(fit_batch(cells, PLAIN, counts).log_loss(suite.size[~keep], suite.tokens[~keep]))
            loss = suite.loss[~keep]
            for level in LEVELS:
                low, high = np.quantile(ahead, (0.5 - level / 2, 0.5 + level / 2), axis=0)
                cover[level].append(float(((loss >= low) & (loss <= high)).mean()))
            names.append(suite.name)  # the last level is 90%
            width.append(100 * float(((high - low) / loss).mean()))
            points.append(100 * float(winkler(low, high, loss).mean()))
    return _row("percentile bootstrap of the published fit", names, cover, width, points)


FLOORS = (10, 30, 100)
"""Smallest compute that a fit sees, over the suite's smallest."""


def downward_table(suites: list[Suite]) -> list[str]:
    """Forecasts of runs at less than half the compute of any that the fit saw."""
    lines = [
        "| fit on the runs above | suites | median distance | mean error % | worst suite | coverage of 90% | lowest suite |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for floor in FLOORS:
        names, errors, cover, beneath = [], [], [], []
        for suite in suites:
            keep = suite.flops >= floor * suite.flops.min()
            if keep.sum() < 12:
                continue
            under = suite.flops < 0.5 * suite.flops[keep].min()
            if not under.any():
                continue
            cells = cells_of(suite, keep)
            noise = NoiseLaw(DEFAULT_SD, 0.0, float(cells.flops.max()), measured=False)
            laws = laws_of(fit_core(cells, noise), "N2", 0.9)
            laws = laws.model_copy(update={"smallest_rung": float(cells.flops.min())})
            parts = [
                spread(laws, float(n), float(d)) for n, d in zip(suite.size[under], suite.tokens[under], strict=True)
            ]
            error = np.array([p.centre for p in parts]) - np.log(suite.loss[under])
            names.append(suite.name)
            errors.append(100 * float(np.abs(np.expm1(error)).mean()))
            cover.append(float((np.abs(error) <= _normal(0.9)[1] * np.array([p.total for p in parts])).mean()))
            beneath += list(cells.flops.min() / suite.flops[under])
        worst, (low, at) = int(np.argmax(errors)), _lowest(names, cover)
        lines.append(
            f"| {floor}x the smallest | {len(names)} | {np.median(beneath):.0f}x below | {np.mean(errors):.1f} |"
            f" {names[worst]} {errors[worst]:.1f} | {np.mean(cover):.2f} | {low} {at:.2f} |"
        )
    return lines
