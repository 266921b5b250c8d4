"""Which variables the learning-rate and batch laws take: what forecasts left-out larger cells, the simpler if alike.

The rate is a law in compute, in (size, tokens) or in (size, tokens, batch); the batch a law in compute or in tokens.
Candidates are judged by the losses of runs, not by the excess at their optimum: a misplaced optimum shows there in
proportion to the shift, in the excess only as its square (decision 0120 has what either gets wrong on made-up grids).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from forescale.scaling.hyper_model import Fitted, Variables, fit_model, own_excess
from forescale.scaling.response import SMOOTHING, Cell, Smooth, smooth

Array = npt.NDArray[np.float64]

APART = 1.3
"""Cells must span this ratio of compute before an exponent is asked of them."""
INDEPENDENT = 0.05
"""sd of ln size at equal compute from which size and tokens get exponents of their own; the priors keep them sane."""
MIN_TO_CHOOSE = 4
"""Cells with a surface of their own from which the variables are chosen by held-out losses."""
SHARES = (0.5, 0.67)
"""The smallest cells that a candidate is fitted on before it forecasts the others."""
REFUTED = 2.0
"""Standard errors by which a candidate may forecast left-out larger cells worse than the best and still stand."""
SD_FLOOR = 5e-4


@dataclass(frozen=True)
class Choice:
    """Variables of both laws; `coupled`: the rate law also takes the batch."""

    rate: Variables | None
    batch: Variables | None
    coupled: bool = False
    held_out: float | None = None
    """Mean excess of the laws' choice on left-out larger cells."""
    undecided: Variables | None = None
    """What the batch could as well be a law in, as far as these cells tell."""


@dataclass(frozen=True)
class Judged:
    """A cell with a surface of its own."""

    cell: Cell
    surface: Smooth
    weight: Array
    """Of each run: 1 near the optimum, falling with its excess."""
    sd: float
    """Relative scatter of the runs around the surface."""

    @classmethod
    def of(cls, cell: Cell, band: float) -> Judged | None:
        """None where the cell's runs carry no surface."""
        surface = smooth(cell, band)
        if surface is None:
            return None
        reach = SMOOTHING * max(band, surface.sd)
        return cls(cell, surface, np.exp(-own_excess(cell, surface) / reach), max(surface.sd, SD_FLOOR))

    def misfit(self, fitted: Fitted, x: float, y: float) -> float:
        """Weighted chi-squared of the cell's runs under a model whose optimum is at x, y; the cell's level is free."""
        error = self.cell.l - fitted.rise(self.cell.x - x, self.cell.y - y)
        error = error - float((self.weight * error).sum() / self.weight.sum())
        return float((self.weight * error**2).sum()) / self.sd**2


def choose(cells: Sequence[Cell], bands: Array, rate_ok: bool, batch_ok: bool) -> Choice:
    """The variables that stand on left-out larger cells and, of these, fit all cells best; the simpler if alike.

    Where too few cells have a surface of their own: (size, tokens) if the two are independent in the table, and tokens
    for the batch; else compute.
    """
    free = independent(cells)
    compute, both = Variables(("flops",)), Variables(("size", "tokens"))
    rates = [both, compute] if free else [compute]
    batches = [Variables(("tokens",)), compute]
    candidates = [
        Choice(r, b) for r, b in itertools.product(rates if rate_ok else [None], batches if batch_ok else [None])
    ]
    judged = [Judged.of(cell, float(band)) for cell, band in zip(cells, bands, strict=True)]
    if sum(j is not None for j in judged) < MIN_TO_CHOOSE or len(cells) < MIN_TO_CHOOSE + 1:
        return _with_rival(candidates[0], candidates if free else [])
    smaller = _smaller(cells)
    fits = [[fit_model(cells[:n], bands[:n], c.rate, c.batch) for n in smaller] for c in candidates]
    left_out = np.array(
        [[m for n, f in zip(smaller, own, strict=True) for m in _misfits(f, judged, n)] for own in fits]
    )
    standing = _alike(left_out, np.zeros(len(candidates)), REFUTED)
    whole = [fit_model(cells, bands, c.rate, c.batch) for c in candidates]
    inside = np.array([_misfits(f, judged, 0) for f in whole])
    # each exponent costs ln(runs), as in the Bayesian information criterion
    cost = math.log(sum(len(c) for c in cells)) * np.array([len(c.rate.names) if c.rate else 0 for c in candidates])
    alike = _alike(inside[standing], cost[standing], 1.0)
    tied = [standing[i] for i in alike]
    simplest = min(cost[i] for i in tied)
    best = min((i for i in tied if cost[i] == simplest), key=lambda i: float(inside[i].sum()))
    choice = _with_rival(candidates[best], [candidates[i] for i in tied] if free else [])
    return _judge(choice, fits[best], smaller, judged, free)


def independent(cells: Sequence[Cell]) -> bool:
    """Whether size and tokens move apart at equal compute."""
    log_c = np.log([c.flops for c in cells])
    log_n = np.log([c.size for c in cells])
    if len(cells) < 3:
        return False
    slope, level = np.polyfit(log_c, log_n, 1)
    return bool(np.std(log_n - slope * log_c - level) > INDEPENDENT)


def _with_rival(choice: Choice, standing: Sequence[Choice]) -> Choice:
    """The choice, with the other batch law that stands beside the same rate law."""
    rivals = [c.batch for c in standing if c.batch not in (None, choice.batch)]
    return replace(choice, undecided=rivals[0] if rivals else None)


def _smaller(cells: Sequence[Cell]) -> list[int]:
    """How many of the smallest cells are fitted on; larger ones, by APART in compute, are then left out of the fit."""
    counts = sorted({max(3, round(share * len(cells))) for share in SHARES})
    return [n for n in counts if cells[-1].flops > cells[n - 1].flops * APART]


def _tests(judged: Sequence[Judged | None], n: int) -> list[Judged]:
    """Judged cells beyond the smallest n; all of them where n is 0."""
    return [j for j in judged[n:] if j is not None]


def _misfits(fitted: Fitted, judged: Sequence[Judged | None], n: int) -> list[float]:
    tests = _tests(judged, n)
    x, y = fitted.optimum([j.cell for j in tests])
    return [j.misfit(fitted, float(a), float(b)) for j, a, b in zip(tests, x, y, strict=True)]


def _alike(misfit: Array, cost: Array, errors: float) -> list[int]:
    """Candidates that are not worse than the best by more than so many standard errors of the difference by cell."""
    if not misfit.size:
        return list(range(len(misfit)))
    total = misfit.sum(axis=1) + cost
    best = int(np.argmin(total))
    n = misfit.shape[1]
    found = []
    for i, row in enumerate(misfit):
        difference = row - misfit[best]
        error = float(difference.std(ddof=1)) * math.sqrt(n) if n > 1 else math.inf
        if i == best or total[i] - total[best] <= errors * error:
            found.append(i)
    return found


def _judge(
    choice: Choice, fits: Sequence[Fitted], smaller: Sequence[int], judged: Sequence[Judged | None], free: bool
) -> Choice:
    """Add the mean excess on left-out larger cells, and the batch to the rate's variables where that lowers it.

    The latter is asked with the batch halved and doubled, since a law that knows the batch shows its worth where the
    batch is not the best one; and only where size and tokens are independent: (size, tokens, batch) is its set.
    """
    own: list[float] = []
    gains: list[float] = []
    for n, fitted in zip(smaller, fits, strict=True):
        tests = _tests(judged, n)
        x, y = fitted.optimum([j.cell for j in tests])
        for j, x_best, y_best in zip(tests, x, y, strict=True):
            rate = float(x_best) if choice.rate is not None else j.surface.x0
            batch = float(y_best) if choice.batch is not None else j.surface.y0
            own.append(j.surface.excess(rate, batch))
            for shift in (-math.log(2.0), math.log(2.0)):
                knowing = j.surface.excess(rate + fitted.coupling * shift, batch + shift)
                gains.append(j.surface.excess(rate, batch + shift) - knowing)
    if not own:
        return choice
    gain = np.array(gains)
    coupled = (
        free
        and choice.rate is not None
        and choice.batch is not None
        and float(gain.mean()) > float(gain.std(ddof=1)) / math.sqrt(len(gain))
    )
    return replace(choice, coupled=coupled, held_out=float(np.mean(own)))
