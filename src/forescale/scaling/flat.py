"""Flat ladders: the loss does not fall with compute, because all that can be learnt is learnt, or nothing can be.

No exponent can be read off such runs, and a surface fitted to them splits compute by their noise. So the laws of a flat
ladder are one number, the floor, with an interval: what more compute might still bring, and how runs scatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student

from forescale.base.errors import InputError
from forescale.base.records.laws import Member, Predictive, RungReport, Surface
from forescale.scaling import calibration
from forescale.scaling.noise import SAME_CELL, Cells, NoiseLaw, grouped
from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]

FLAT = "flat"
"""Name of the form of a flat ladder's surface."""
SURE = 0.95
"""A fall that is not one with this confidence is no fall (one-sided)."""
STEP = 2.1
"""Settings within this factor of the best learning rate and batch are what one might have chosen as well."""
IDLE = 0.01
"""Slope d ln L / d ln C below which runs that never beat their bigram table have nothing to learn: ladders of real text
have 0.03 or more there, at any size (0.05 on public ladders, 0.085 on laptop ones)."""
USUAL_LEAST = 0.03
"""The least slope of ladders of real text: a ladder too noisy to exclude it is not flat, it is noisy."""
RISE, RISE_SURE = 0.01, 0.99
"""A rise of the loss an e-fold of compute, and the confidence in it (one-sided), from which it is no loss."""
TABLE_ERROR = 0.01
"""A bigram table is counted on finite text: the true entropy of its pairs lies up to about this share lower."""
NOTHING = 0.01
"""A loss (in its own unit) this close to zero is zero but for noise: a text that is known by heart."""
NEAR_ZERO = 0.1
"""Runs of such a text differ by at least this share of that, up, however close together the ladder's were."""
USUAL_ALPHA, UNLEARNING_ALPHA = 0.16, 0.5
"""Exponents in compute: what is still to fall is the slope over them. The usual one of the frontier, and that of a
model with nothing to learn, whose only surplus is the error of estimating a known distribution (statistics: a power of
the tokens between 1/2 and 1)."""
MIN_CELLS, MIN_RUNGS, MIN_SPAN = 5, 3, 2.5
"""Different runs, budgets, and their reach in compute, that it takes to call a ladder flat."""
LEAST_FREEDOM = 3
"""Degrees of freedom that a scatter is given at least: the seed noise says something too."""
SHARE_LEFT = 0.1
"""The loss is held to keep at least this share: intervals are drawn in logarithms, which have no zero."""
N_DRAWS = 300


@dataclass(frozen=True)
class Slope:
    """How the best loss of the budgets falls: -d ln L / d ln C, its standard error, and what that rests on."""

    value: float
    error: float
    scatter: float
    """Relative sd of a budget's best loss: seeds, neighbouring settings, and scatter around the line."""
    freedom: int

    @property
    def falls(self) -> bool:
        """The loss falls measurably along the frontier."""
        return self.value > float(student.ppf(SURE, self.freedom)) * self.error

    @property
    def rises(self) -> bool:
        """It rises, beyond doubt."""
        return -self.value > float(student.ppf(RISE_SURE, self.freedom)) * self.error

    @property
    def most(self) -> float:
        """The steepest slope that the runs allow."""
        return max(0.0, self.value) + float(student.ppf(SURE, self.freedom)) * self.error


def slope_of(table: RunTable, cells: Cells, noise: NoiseLaw, rungs: list[Array]) -> Slope | None:
    """The line through the budgets' best cells, against the scatter of what else might have been the best."""
    tops = [np.flatnonzero(np.isin(cells.budget, group)) for group in rungs]
    best = np.array([inside[cells.loss[inside].argmin()] for inside in tops])
    x, y = np.log(cells.flops[best]), np.log(cells.loss[best])
    if len(best) < MIN_RUNGS or np.ptp(x) < np.log(MIN_SPAN):
        return None
    away = x - x.mean()
    reach = float((away**2).sum())
    value = float((away * y).sum() / reach)
    residual = y - y.mean() - value * away
    freedom = len(best) - 2
    sd = float(np.sqrt((residual**2).sum() / freedom))
    step, step_freedom = _neighbours(table)
    if step > sd:
        sd, freedom = step, step_freedom
    sd = max(sd, float(noise.at(cells.flops[best]).mean()))
    return Slope(-value, sd / float(np.sqrt(reach)), sd, max(freedom, LEAST_FREEDOM))


def _neighbours(table: RunTable) -> tuple[float, int]:
    """Pooled relative sd of runs of one size and length that differ by seed or by one step of rate or batch."""
    squares, freedom = 0.0, 0
    for members in grouped(table, SAME_CELL):
        if len(members) < 2:
            continue
        rows = np.array(members)
        first = rows[table.loss[rows].argmin()]
        near = rows[_close(table.lr, rows, first) & _close(table.batch_tokens, rows, first)]
        if len(near) > 1:
            logs = np.log(table.loss[near])
            squares += float(((logs - logs.mean()) ** 2).sum())
            freedom += len(near) - 1
    return (float(np.sqrt(squares / freedom)) if freedom else 0.0), freedom


def _close(column: Array, rows: npt.NDArray[np.int64], first: int) -> npt.NDArray[np.bool_]:
    """Rows whose value lies one step from the best run's; unknown values are no difference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log(column[rows] / column[first]))
    return np.asarray(~np.isfinite(apart) | (apart <= np.log(STEP)))


@dataclass(frozen=True)
class Flat:
    """What a flat ladder comes to: the floor of the loss, what a new run may differ by, and why it was judged so."""

    kind: Literal["idle", "known", "unmoved"]
    """idle: at the bigram table and stays; known: zero but for noise; unmoved: no fall beyond the scatter."""
    floor: float
    below: float
    """ln(floor / what is still possible): the 5% end of a new run's loss."""
    above: float
    """ln(a new run's 95% end / floor)."""
    warning: str

    def reports(self, reports: list[RungReport]) -> list[RungReport]:
        """Rungs of a text that cannot be learnt, or is learnt, are all on its curve: it is flat."""
        if self.kind == "unmoved":
            return reports
        at = "the bigram entropy: nothing to learn" if self.kind == "idle" else "zero: nothing left to learn"
        return [r.model_copy(update={"admissible": True, "reason": f"flat at {at}"}) for r in reports]

    def surface(self, level: float) -> Surface:
        """The floor as a surface without slopes."""
        logs = np.log([d[0] for d in self.draws()])
        tail = (1 - level) / 2
        ends = (float(np.exp(np.quantile(logs, tail))), float(np.exp(np.quantile(logs, 1 - tail))))
        return self._plain().model_copy(update={"intervals": {"E": ends}})

    def _plain(self) -> Surface:
        return Surface(form=FLAT, E=self.floor, A=0.0, alpha=0.0, B=0.0, beta=0.0)

    def draws(self) -> list[list[float]]:
        """Floors between the two ends: evenly spaced quantiles of two half normals, so that nothing is random."""
        z = norm.ppf((np.arange(N_DRAWS) + 0.5) / N_DRAWS) / norm.ppf(SURE)
        logs = np.log(self.floor) + np.where(z < 0, self.below, self.above) * z
        return [[float(f"{value:.8g}"), 0.0, 0.0, 0.0, 0.0, 1.0] for value in np.exp(logs)]

    def predictive(self, cells: Cells, widen: float = 1.0) -> Predictive:
        """The distribution of a new run, the same at every size: its ends are the floor's own, seed noise included."""
        draws = self.draws()
        z = dict(calibration.QUANTILES)[SURE]
        spread = float(np.log([d[0] for d in draws]).std())
        ratios = cells.tokens / cells.size
        return Predictive(
            members=[Member(surface=self._plain(), weight=1.0)], draws=draws,
            widen=widen * self.above / (z * spread), widen_low=self.below / self.above,
            ratio=(float(ratios.min()), float(ratios.max())), quantiles=list(calibration.QUANTILES),
        )  # fmt: skip


def judge_flat(
    table: RunTable, cells: Cells, noise: NoiseLaw, rungs: list[Array], reports: list[RungReport]
) -> Flat | None:
    """Whether the loss falls with compute at all; None where it does, or where too few budgets can tell."""
    slope = slope_of(table, cells, noise, rungs) if len(cells) >= MIN_CELLS else None
    if slope is None:
        return None
    upper = reports[len(reports) // 2 :]
    kind: Literal["idle", "known", "unmoved"]
    if max(r.best_loss for r in upper) < NOTHING:
        kind, alpha = "known", USUAL_ALPHA
        words = f"the loss is below {NOTHING:g}: this text is known by heart and nothing is left to learn"
    elif slope.most < IDLE and all(_at_or_above_bigram(r, noise) for r in upper):
        kind, alpha = "idle", UNLEARNING_ALPHA
        words = (
            f"the loss stays at the bigram entropy and falls by only {slope.value:.2%} an e-fold of compute: there is"
            " nothing to learn in this text beyond its pairs of tokens (or far more compute would be needed to see it)"
        )
    elif not slope.falls and slope.most < USUAL_LEAST:
        refuse_rising(slope)
        kind, alpha = "unmoved", USUAL_ALPHA
        words = (
            f"the loss rises by {-slope.value:.2%} +- {slope.error:.2%} an e-fold of compute: is this a loss, or did"
            " the larger runs go wrong?"
            if slope.rises
            else f"the loss does not fall measurably along the frontier ({slope.value:.2%} +- {slope.error:.2%} an"
            " e-fold of compute): nothing to learn, or too much noise; add budgets further apart and seeds"
        )
    else:
        refuse_rising(slope)  # steep, but too noisy to be called flat
        return None
    top = cells.loss[np.isin(cells.budget, rungs[-1])]
    best, typical = _lowest(top, slope.scatter), float(np.median(top))
    if kind == "unmoved":  # no budget is better than another: all of them say where the floor is
        bests = [_lowest(cells.loss[np.isin(cells.budget, group)], slope.scatter) for group in rungs]
        best, typical = float(np.exp(np.log(bests).mean())), max(typical, float(max(bests)))
    bigrams = [r.bigram for r in upper if r.bigram is not None]
    floor = min(best, *bigrams) if kind == "idle" else best
    z = float(norm.ppf(SURE))
    above = float(np.hypot(z * slope.scatter, np.log(max(typical, best) / floor)))
    if kind == "known":  # near zero the scatter is no share of the loss
        above = max(above, float(np.log1p(NEAR_ZERO * NOTHING / floor)))
    left = -float(np.log(max(1 - slope.most / alpha, SHARE_LEFT)))
    return Flat(
        kind,
        floor,
        below=max(left + float(np.log(floor / best)), z * slope.scatter),
        above=above,
        warning=f"flat: {words}. No allocation and no compute law; the forecast is the floor {floor:.4g}",
    )


def refuse_rising(slope: Slope) -> None:
    """Exit 3 where the loss rises with compute, steeply and beyond doubt: such a column is no loss."""
    if not slope.rises or -slope.value < RISE:
        return
    raise InputError(
        f"the loss rises with compute, by {-slope.value:.2%} +- {slope.error:.2%} an e-fold: is this a loss?",
        why="an accuracy, a score or 1/loss rises; a loss falls, or is flat where there is nothing to learn",
        remedy="choose the loss with --column loss=NAME; if it is one, the larger runs went wrong: leave them out with"
        " --where, or look at their learning rates and at repeated data",
        key="loss",
    )


def _lowest(losses: Array, scatter: float) -> float:
    """Mean of the losses that cannot be told from the lowest, which alone would be a lucky one."""
    return float(np.exp(np.log(losses[losses <= losses.min() * (1 + 2 * scatter)]).mean()))


def _at_or_above_bigram(report: RungReport, noise: NoiseLaw) -> bool:
    sd = float(noise.at(np.array([report.flops]))[0])
    return report.bigram is not None and report.best_loss > report.bigram * (1 - max(2 * sd, TABLE_ERROR))
