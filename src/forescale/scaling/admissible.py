"""Which budgets lie on the curve at all: below the scaling regime nothing can be forecast, and that is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Regime, RungReport
from forescale.scaling.flat import Flat, judge_flat
from forescale.scaling.noise import Cells, NoiseLaw
from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]

MINIMUM_STEPS = 1000
"""Optimizer steps below which a run's loss is mostly noise and far above the curve (our probes; settable)."""
STEPS_SLACK = 0.8
""""About" 1,000: rungs from 800 on pass."""
FLAT_ABSOLUTE = 0.01
"""Loss this close to the bigram entropy (in the loss's own unit) is at it, whatever the noise."""
STEEPER = 1.3
"""A local slope this much above the one before is steepening (the public ladders stay below 1.2, our choice)."""
SAME_SPLIT = 8.0
"""Factor in tokens over size within which neighbouring budgets' best runs lie: best splits of noisy budgets differ
by 2 to 3, over-trained runs from others by 15 and more (our choice)."""
CLEAR = 0.14
"""Share below the bigram entropy from which the largest rung has clearly left it. On source code, where copying set in
later and no ladder saw it, it was 13% at 1e12 FLOPs; on prose, whose ladders run straight, 16-17% (our probes)."""
NEEDED = 3
"""Admissible rungs that a forecast needs (contract)."""


@dataclass(frozen=True)
class Rungs:
    """The judgement on each budget, and on the ladder."""

    reports: list[RungReport]
    regime: Regime
    smallest: float | None
    """The smallest budget from which on all are admissible."""
    steepening: bool
    """The curve steepens, or may: the lower side of intervals is widened."""
    warnings: list[str]
    flat: Flat | None = None
    """The loss does not fall with compute: what that leaves to say."""


def judge(table: RunTable, cells: Cells, noise: NoiseLaw, minimum_steps: int = MINIMUM_STEPS) -> Rungs:
    """Judge every budget by its best runs: enough steps, below the bigram entropy, slope not steepening."""
    budgets = np.unique(cells.budget)
    grouped = _bin(budgets)
    reports = [_rung(table, cells, noise, group, minimum_steps) for group in grouped]
    reports = _flat(reports, noise)
    flat = judge_flat(table, cells, noise, grouped, reports)
    if flat is not None:
        reports = flat.reports(reports)
    # A rung below an inadmissible one may pass by luck: the admissible ones are those above the last failure.
    failed = [i for i, r in enumerate(reports) if r.admissible is False]
    reports = [
        r if i > max(failed, default=-1) or r.admissible is False
        else r.model_copy(update={"admissible": False, "reason": "a larger budget is not on the curve yet"})
        for i, r in enumerate(reports)
    ]  # fmt: skip
    # Bins of a grid are no frontier (their best run is over- or under-trained by chance): only budgets are compared.
    bend = None
    if flat is None and len(grouped) == len(budgets) and _alike([_ratio(cells, group) for group in grouped]):
        bend = _steepening(reports, noise)
    warnings = [] if flat is None else [flat.warning]
    if bend is not None:
        warnings.append(
            f"the curve steepens at {reports[bend].flops:.3g} FLOPs: what the smaller budgets say may not hold beyond"
        )
        reports = [
            r if i >= bend - 1 or r.admissible is False
            else r.model_copy(update={"admissible": False, "reason": "the curve steepens above this budget"})
            for i, r in enumerate(reports)
        ]  # fmt: skip
    good = [r for r in reports if r.admissible is not False]
    evidence = any(r.bigram is not None or r.steps is not None for r in reports)
    if any(r.admissible is False for r in reports) and len(good) < NEEDED:
        regime: Regime = "pre-scaling"
        warnings.append(
            f"pre-scaling: {len(good)} of {len(reports)} budgets lie on the curve and {NEEDED} are needed; all finished"
            " runs are used and the intervals are widened: larger budgets, or a smaller vocabulary, would help"
        )
    elif len(good) >= NEEDED and (evidence or len(good) > NEEDED):
        regime = "scaling"
    else:
        regime = "unknown"
    top = reports[-1]
    doubtful = top.bigram is not None and "flat" not in top.reason and top.best_loss > (1 - CLEAR) * top.bigram
    if regime == "scaling" and doubtful and top.bigram is not None:
        regime = "unknown"
        warnings.append(
            f"the largest budget is only {1 - top.best_loss / top.bigram:.0%} below the bigram entropy: what is learnt"
            " later (copying) may still lower the loss abruptly; the interval is widened downwards"
        )
    smallest = [float(group[0]) for group, r in zip(grouped, reports, strict=True) if r.admissible is not False]
    return Rungs(reports, regime, smallest[0] if smallest else None, bend is not None or doubtful, warnings, flat)


def _ratio(cells: Cells, budgets: Array) -> float:
    """Tokens over size of the best run of these budgets."""
    inside = np.flatnonzero(np.isin(cells.budget, budgets))
    best = inside[cells.loss[inside].argmin()]
    return float(cells.tokens[best] / cells.size[best])


def _alike(ratios: list[float]) -> bool:
    """Whether neighbouring budgets' best runs are split alike, so that how steeply they fall means something: an
    over-trained run among others does not bend a law."""
    return bool(np.all(np.abs(np.diff(np.log(ratios))) <= np.log(SAME_SPLIT)))


def _bin(budgets: Array) -> list[Array]:
    """Budgets as they are; where nearly every run is its own budget (grids), thirds of a decade."""
    if len(budgets) <= 16:
        return [budgets[i : i + 1] for i in range(len(budgets))]
    width = np.log(10.0) / 3
    numbers = np.floor((np.log(budgets) - np.log(budgets[-1])) / width + 1e-9)
    return [budgets[numbers == n] for n in np.unique(numbers)]


def _rung(table: RunTable, cells: Cells, noise: NoiseLaw, budgets: Array, minimum_steps: int) -> RungReport:
    inside = np.isin(cells.budget, budgets)
    losses = cells.loss[inside]
    best = float(losses.min())
    flops = float(cells.budget[inside][losses.argmin()])
    sd = float(noise.at(np.array([flops]))[0])
    near = np.flatnonzero(inside & (cells.loss <= best * (1 + max(0.01, 2 * sd))))
    rows = np.concatenate([cells.members[i] for i in near])
    steps, bigrams = table.steps[rows], table.bigram[rows]
    most = float(np.nanmax(steps)) if np.isfinite(steps).any() else None
    bigram = float(np.nanmedian(bigrams)) if np.isfinite(bigrams).any() else None
    admissible: bool | None = None if most is None and bigram is None else True
    reason = ""
    if most is not None and most < STEPS_SLACK * minimum_steps:
        admissible, reason = False, f"its best runs took {most:.0f} steps, fewer than about {minimum_steps}"
    elif bigram is not None and best > bigram * (1 - 2 * sd):
        admissible, reason = False, f"its best loss {best:.4g} is not below the bigram entropy {bigram:.4g}"
    return RungReport(flops=flops, admissible=admissible, reason=reason, best_loss=best, bigram=bigram, steps=most)


def _flat(reports: list[RungReport], noise: NoiseLaw) -> list[RungReport]:
    """Text with nothing to learn: every rung, the largest too, lies at the bigram entropy, within the noise."""

    def at_it(r: RungReport) -> bool:
        if r.bigram is None:
            return False
        sd = float(noise.at(np.array([r.flops]))[0])
        return abs(r.best_loss - r.bigram) <= max(3 * sd * r.bigram, 0.003 * r.bigram, FLAT_ABSOLUTE)

    upper = reports[len(reports) // 2 :]
    if not all(at_it(r) for r in upper):
        return reports
    return [
        r.model_copy(update={"admissible": True, "reason": "flat at the bigram entropy: nothing to learn"})
        if at_it(r) else r
        for r in reports
    ]  # fmt: skip


def _steepening(reports: list[RungReport], noise: NoiseLaw) -> int | None:
    """Index of the last rung into which the curve of best losses is clearly steeper than into the rung before."""
    if len(reports) < 3 or any("flat" in r.reason for r in reports):
        return None
    c = np.log([r.flops for r in reports])
    # Rungs of grids and of over-trained runs are no frontier: only the running minimum is compared.
    loss = np.log(np.minimum.accumulate([r.best_loss for r in reports]))
    sd = noise.at(np.exp(c))
    slope = -np.diff(loss) / np.diff(c)
    error = np.sqrt(sd[1:] ** 2 + sd[:-1] ** 2) / np.diff(c)
    bends = [
        i + 1
        for i in range(1, len(slope))
        if slope[i] > STEEPER * max(slope[: i].max(), 0.0) + 3 * np.hypot(error[i], error[i - 1]) + 0.005
    ]  # fmt: skip
    return bends[-1] if bends else None
