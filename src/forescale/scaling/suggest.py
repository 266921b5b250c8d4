"""What to run next: the runs that narrow a target's forecast most for their compute.

The laws' parameter draws are a sample of what is still possible. In that sample a candidate's loss and the target's are
correlated, so observing the candidate (with its noise) shrinks the target's variance by a known amount: no refit is
needed to look ahead. A larger run also brings the target nearer, which shrinks the error that grows with distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.base.records.laws import Laws
from forescale.base.records.suggestion import SuggestedRun, Suggestion
from forescale.scaling.flat import FLAT
from forescale.scaling.forecast import at, optimum
from forescale.scaling.predictive import spread, surface_log_loss
from forescale.scaling.sources import read_rows

Array = npt.NDArray[np.float64]

SIZE_FACTORS = (0.35, 0.6, 1.0, 1.7, 2.8)
"""Sizes around the optimum that a candidate may have."""
OFF_LINE = (0.5, 2.0)
"""Sizes off a line of tokens tied to size: at one compute, tokens per size then differ from it by 4x and more."""
TIED = "tokens are tied to size"
"""What the fit's own warning says of such a ladder."""
REACH = 4.0
"""Candidates go up to this many times the largest compute so far, and never beyond a tenth of the target."""
RUNS = 4
LITTLE = 0.02
"""A list that narrows by less than this share of the width is said to be of little use."""
WORTH = 0.1
"""A run must narrow by this share of what the most useful one would: else the cheapest crumbs would win."""


@dataclass(frozen=True)
class Candidate:
    """A run that could be made: size in the laws' unit."""

    size: float
    tokens: float
    flops: float
    lr: float | None = None
    batch_tokens: float | None = None
    seed: int = 0
    row: int | None = None


@dataclass
class State:
    """What is known of target and candidates together: covariance of their ln losses, and where the ladder ends."""

    covariance: Array
    """[1 + n, 1 + n]; the target first."""
    noise: Array
    """Variance of observing each candidate."""
    reach: tuple[float, float, float]
    """Largest compute, size and tokens so far."""
    growth: float
    """sd of the target's error at e-fold extrapolation; its variance grows with ln distance, as in a forecast."""
    floor: float
    """Variance of the target that no run can take away: its own seed noise and scatter."""
    target: tuple[float, float, float]
    """The target's compute, size and tokens."""

    def sd(self) -> float:
        """The target's standard deviation now."""
        away = max(0.0, *(math.log(goal / have) for goal, have in zip(self.target, self.reach, strict=True)))
        return math.sqrt(max(self.covariance[0, 0], 0.0) + self.growth**2 * away + self.floor)

    def after(self, k: int, run: Candidate) -> State:
        """The state once candidate `k` (0 = first) has been seen."""
        j = k + 1
        column = self.covariance[:, j]
        gain = np.outer(column, column) / (self.covariance[j, j] + self.noise[k])
        seen = (run.flops, run.size, run.tokens)
        reach = tuple(max(have, new) for have, new in zip(self.reach, seen, strict=True))
        return State(
            self.covariance - gain, self.noise, (reach[0], reach[1], reach[2]), self.growth, self.floor, self.target
        )


def suggest(
    laws: Laws,
    target: float,
    *,
    tokens: float | None = None,
    candidates: Any = None,
    n_runs: int = RUNS,
    allowance: float | None = None,
    until: float | None = None,
    exclude: set[int] | None = None,
) -> Suggestion:
    """The next runs for the forecast at `target` FLOPs (the laws' own: M x D or 6 N D), best first.

    `tokens`: of a target that is not optimally split (over-trained, say).
    `candidates`: a table; then only its rows are chosen among (`exclude`: data rows already run). It stops after
    `n_runs`, when `allowance` FLOPs are spent, or when the expected width is below `until` (a fraction of the loss).
    """
    if laws.predictive is None or laws.largest is None:
        raise InputError(
            "these laws have no loss surface with draws: there is nothing to narrow",
            remedy="fit runs of at least three sizes and three budgets first",
        )
    if laws.predictive.members[0].surface.form == FLAT:
        raise InputError(
            "these laws are flat: no further run like the ladder's narrows their forecast",
            why="; ".join(w for w in laws.warnings if w.startswith("flat: ")),
            remedy="run a budget ten times as large, with two seeds, and fit again",
        )
    rows = _grid(laws, target) if candidates is None else _rows(laws, candidates, exclude or set())
    size, data = optimum(laws, target) if tokens is None else (target / (laws.flops_factor * tokens), tokens)
    now = at(laws, size, data)
    width_now = now.width
    assert width_now is not None
    state = _state(laws, rows, size, data)
    per_sd = width_now / state.sd()
    chosen, left = _greedy(state, rows, n_runs, allowance, until, per_sd)
    after = left.sd() * per_sd
    warnings = _remarks(laws, target, candidates is None)
    if chosen and after > (1.0 - LITTLE) * width_now:
        warnings.append(
            f"these runs narrow the forecast by less than {100 * LITTLE:.0f}% of its width: what is left is noise, or "
            "distance that only larger runs than these take away"
        )
    warnings += [] if chosen else ["no candidate is affordable or narrows the forecast"]
    if left.reach[0] < target / 10:
        warnings.append(f"the target lies {target / left.reach[0]:.3g} x beyond the largest run even then")
    return Suggestion(
        target_flops=target,
        width_now=width_now,
        runs=[_suggested(rows[k], laws, seed) for k, seed in chosen],
        width_after=after,
        flops=sum(rows[k].flops for k, _ in chosen),
        scale=laws.scale,
        warnings=warnings,
    )


def tied(laws: Laws) -> bool:
    """Whether the runs' tokens go with their size, so that nothing tells the two apart."""
    return laws.surface is None and any(TIED in text for text in laws.warnings)


def _remarks(laws: Laws, target: float, free: bool) -> list[str]:
    """What a reader should know of the target before the list."""
    remarks = []
    if laws.largest is not None and target <= laws.largest.flops:
        remarks.append(
            f"the target lies inside the ladder ({target / laws.largest.flops:.3g} x its largest compute): its forecast"
            " needs no run beyond it; name the compute that is to be reached"
        )
    if tied(laws) and free:
        remarks.append(
            "the ladder's tokens are tied to its sizes: the runs here leave that line first, for they alone tell size"
            " and tokens apart; what they add is more than the width, which holds along the line"
        )
    if not any(noise.replicates for noise in laws.noise):
        remarks.append(
            "no setting of the ladder was run twice: the widths take the seed noise of public ladders, and a second "
            "seed may show more of it"
        )
    missing = [name for name, law in (("learning rate", laws.learning_rate), ("batch", laws.batch)) if law is None]
    if missing and free:
        remarks.append(
            f"no law of {' or '.join(missing)} (they were not varied): give the new runs what the ladder's own runs of "
            "about their size had"
        )
    return remarks


def _grid(laws: Laws, target: float) -> list[Candidate]:
    """Sizes around the optimum at computes from the smallest admissible rung to REACH times the largest run.

    Where tokens are tied to size, only sizes off their line: on it, no run tells the two apart.
    """
    assert laws.largest is not None
    factors = tuple(f for f in SIZE_FACTORS if f < OFF_LINE[0] or f > OFF_LINE[1]) if tied(laws) else SIZE_FACTORS
    top = min(REACH * laws.largest.flops, max(target / 10.0, laws.largest.flops))
    low = laws.smallest_rung or laws.largest.flops / 30.0
    count = max(2, round(math.log(top / low) / math.log(2.0)) + 1) if top > low else 1
    found = []
    for flops in np.geomspace(low, top, count):
        best, _ = optimum(laws, float(flops))
        for factor in factors:
            size = best * factor
            tokens = float(flops) / (laws.flops_factor * size)
            batch = None if laws.batch is None else laws.batch.value(flops=float(flops), size=size, tokens=tokens)
            rate = None
            if laws.learning_rate is not None:
                rate = laws.learning_rate.value(flops=float(flops), size=size, tokens=tokens, batch_tokens=batch)
            rate = rate if rate is not None and math.isfinite(rate) else None
            found.append(Candidate(size, tokens, float(flops), rate, batch))
    return found


def _rows(laws: Laws, source: Any, exclude: set[int]) -> list[Candidate]:
    """Rows of a table of candidates: size and tokens (or either with flops), as in the run table, no loss needed."""
    from forescale.scaling.columns import number
    from forescale.scaling.named import name_columns
    from forescale.scaling.sizes import choose_sizes, resolve

    rows = read_rows(source).rows
    if not rows:
        raise InputError("the table of candidates has no rows", remedy="give one run a row: size and tokens")
    named = name_columns(rows, list(dict.fromkeys(name for row in rows for name in row)), ())
    rows, found = named.rows, named.found
    sizes = choose_sizes(rows, found, laws.scale).values[laws.scale]

    def cell(row: dict[str, Any], name: str) -> float | None:
        return number(row.get(found[name])) if name in found else None

    result = []
    for i, row in enumerate(rows):
        point = resolve(laws.scale, sizes[i], cell(row, "tokens"), cell(row, "flops"), cell(row, "budget"))
        if point.reason or i + 1 in exclude:
            continue
        seed = cell(row, "seed")
        result.append(
            Candidate(
                point.size, point.tokens, point.flops, cell(row, "lr"), cell(row, "batch_tokens"),
                0 if seed is None else int(seed), i + 1,
            )
        )  # fmt: skip
    if not result:
        raise InputError("no row of the candidates has a size and tokens", remedy="see the run table's columns")
    return result


def _state(laws: Laws, rows: list[Candidate], size: float, tokens: float) -> State:
    """Covariance of target and candidates over the laws' draws, and the noise of each candidate."""
    predictive = laws.predictive
    assert predictive is not None
    assert laws.largest is not None
    draws = np.asarray(predictive.draws)
    points = [(size, tokens), *((c.size, c.tokens) for c in rows)]
    values = np.stack([surface_log_loss(draws, n, d) for n, d in points])
    covariance = np.atleast_2d(np.cov(values))
    parts = spread(laws, size, tokens)
    noise = []
    for row in rows:
        own = spread(laws, row.size, row.tokens)
        noise.append(own.seed**2 + own.scatter**2 + own.growth**2 + 1e-10)
    return State(
        covariance, np.array(noise), (laws.largest.flops, laws.largest.size, laws.largest.tokens),
        predictive.sd_growth, parts.seed**2 + parts.scatter**2 + parts.off**2,
        (laws.flops_factor * size * tokens, size, tokens),
    )  # fmt: skip


def _greedy(
    state: State, rows: list[Candidate], n_runs: int, allowance: float | None, until: float | None, per_sd: float
) -> tuple[list[tuple[int, int]], State]:
    """One after another, the run with the largest narrowing per FLOP among those that narrow enough to matter."""
    chosen: list[tuple[int, int]] = []
    spent = 0.0
    while len(chosen) < n_runs and (until is None or state.sd() * per_sd > until):
        options = []
        for k, row in enumerate(rows):
            if (allowance is not None and spent + row.flops > allowance) or (
                row.row is not None and any(k == c for c, _ in chosen)
            ):
                continue
            gain = math.log(state.sd() / state.after(k, row).sd())
            options.append((gain, k))
        if not options or max(options)[0] <= 1e-6:
            break
        enough = WORTH * max(options)[0]
        _, k = max((gain / rows[k].flops, k) for gain, k in options if gain >= enough)
        chosen.append((k, sum(1 for c, _ in chosen if c == k)))
        spent += rows[k].flops
        state = state.after(k, rows[k])
    return chosen, state


def _suggested(row: Candidate, laws: Laws, again: int) -> SuggestedRun:
    return SuggestedRun(
        flops_per_token=row.size if laws.scale == "M" else None,
        params=None if laws.scale == "M" else row.size,
        tokens=row.tokens,
        flops=row.flops,
        lr=row.lr,
        batch_tokens=row.batch_tokens,
        seed=row.seed + again,
        row=row.row,
    )
