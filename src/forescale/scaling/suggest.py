"""What to run next: the runs that narrow a target's forecast most for their compute.

The laws' parameter draws are a sample of what is still possible. In that sample a candidate's loss and the target's are
correlated, so observing the candidate (with its noise) shrinks the target's variance by a known amount: no refit is
needed to look ahead. A larger run also brings the target nearer, which shrinks the error that grows with distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.base.records.laws import Laws
from forescale.base.records.suggestion import SuggestedRun, Suggestion
from forescale.scaling.candidates import Candidate, Offer, offer, offer_rows, tied
from forescale.scaling.flat import FLAT
from forescale.scaling.forecast import at, optimum
from forescale.scaling.ladder import Grounds
from forescale.scaling.predictive import spread, surface_log_loss

Array = npt.NDArray[np.float64]

RUNS = 4
LITTLE = 0.02
"""A list that narrows by less than this share of the width is said to be of little use."""
NAMED = 5
"""Candidates' rows named in a warning."""
WORTH = 0.1
"""A run must narrow by this share of what the most useful one would: else the cheapest crumbs would win."""


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
    grounds: Grounds | None = None,
    trust: float = 1.0,
) -> Suggestion:
    """The next runs for the forecast at `target` FLOPs (the laws' own: M x D or 6 N D), best first.

    `tokens`: of a target that is not optimally split (over-trained, say).
    `candidates`: a table; then only its rows are chosen among (`exclude`: data rows already run). It stops after
    `n_runs`, when `allowance` FLOPs are spent, or when the expected width is below `until` (a fraction of the loss).
    `grounds`: a workspace's, for laws whose size is M; then every run is one that can be trained there as it stands.
    `trust`: share of earlier promises (in ln width) that came; the widths expected here are discounted by it.
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
    if candidates is None:
        found = offer(laws, target, grounds=grounds, left=allowance)
    else:
        found = offer_rows(laws, candidates, exclude or set())
    rows = found.runs
    size, data = optimum(laws, target) if tokens is None else (target / (laws.flops_factor * tokens), tokens)
    now = at(laws, size, data)
    width_now = now.width
    assert width_now is not None
    state = _state(laws, rows, size, data)
    start = state.sd()

    def width(state: State) -> float:
        return width_now * (state.sd() / start) ** trust

    if found.budgets:
        chosen, left = _one_each(state, rows, found.budgets, n_runs, allowance)
    else:
        chosen, left = _greedy(state, rows, n_runs, allowance, until, width)
    after = width(left)
    warnings = [*_regime_words(laws, candidates is None), *_remarks(laws, target, candidates is None, grounds)]
    warnings += _left_out_words(found)
    if chosen and left.sd() > (1.0 - LITTLE) * start:
        warnings.append(
            f"these runs narrow the forecast by less than {100 * LITTLE:.0f}% of its width: what is left is noise, or "
            "distance that only larger runs than these take away"
        )
    if left.reach[0] < target / 10:
        warnings.append(f"the target lies {target / left.reach[0]:.3g} x beyond the largest run even then")
    warnings += [] if chosen else [_nothing(found, allowance)]
    return Suggestion(
        target_flops=target,
        width_now=width_now,
        runs=[_suggested(rows[k], laws, seed) for k, seed in chosen],
        width_after=after,
        width_expected=width_now * left.sd() / start,
        flops=sum(rows[k].flops for k, _ in chosen),
        scale=laws.scale,
        regime=laws.regime,
        left_out=found.left_out,
        warnings=warnings,
    )


def _nothing(found: Offer, allowance: float | None) -> str:
    """Why no run is suggested."""
    cheapest = min((run.flops for run in found.runs), default=0.0)
    if allowance is not None and cheapest > allowance:
        return f"the cheapest run that would help takes {cheapest:.3g} FLOPs, and {allowance:.3g} are left"
    if found.runs:
        return "no candidate narrows the forecast"
    return "no candidate: " + "; ".join(
        why if why.startswith("larger") else f"{count} {why}" for why, count in found.refused.most_common()
    )


def _left_out_words(found: Offer) -> list[str]:
    """Rows of the candidates' table that cannot be chosen, counted and named."""
    bad = found.left_out
    if not bad:
        return []
    named = "; ".join(f"row {b.row}{'' if b.line is None else f' (line {b.line})'}: {b.reason}" for b in bad[:NAMED])
    more = "" if len(bad) <= NAMED else f"; and {len(bad) - NAMED} more (--json has them all)"
    return [f"{len(bad)} of {len(bad) + len(found.runs)} candidates left out: {named}{more}"]


def _regime_words(laws: Laws, free: bool) -> list[str]:
    """What laws off the curve, or perhaps off it, can promise; and which runs are suggested therefore."""
    if laws.regime == "scaling":
        return []
    if laws.regime == "pre-scaling":
        said = [w for w in laws.warnings if w.startswith("pre-scaling")] or [
            "pre-scaling: the ladder is not on the curve"
        ]
        then = "; only larger budgets are suggested" if free else "; choose larger budgets than the ladder's"
        return [*said, "the widths promised here are by laws that are not on the curve yet: take care" + then]
    said = [w for w in laws.warnings if "bigram entropy" in w]
    why = "" if said else " (too few budgets, or no `steps` and `bigram_bpb` to tell by)"
    then = ": the largest budget and larger ones are suggested" if free else ": larger budgets would tell"
    return [*said, f"whether the ladder is on the curve is unknown{why}{then}"]


def _remarks(laws: Laws, target: float, free: bool, grounds: Grounds | None) -> list[str]:
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
            f"no law of {' or '.join(missing)} (they were not varied): "
            + (
                "give the new runs what the ladder's own runs of about their size had"
                if grounds is None
                else "the new runs have what the ladder's design gives its own"
            )
        )
    if free and grounds is None:
        remarks.append(
            "sizes and tokens are not rounded: take the nearest shape that can be built, and whole steps of whole"
            " sequences"
        )
    return remarks


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
    state: State,
    rows: list[Candidate],
    n_runs: int,
    allowance: float | None,
    until: float | None,
    width: Callable[[State], float],
) -> tuple[list[tuple[int, int]], State]:
    """One after another, the run with the largest narrowing per FLOP among those that narrow enough to matter."""
    chosen: list[tuple[int, int]] = []
    spent = 0.0
    while len(chosen) < n_runs and (until is None or width(state) > until):
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


def _one_each(
    state: State, rows: list[Candidate], budgets: list[float], n_runs: int, allowance: float | None
) -> tuple[list[tuple[int, int]], State]:
    """A run of each budget, the most useful one there: off the curve, budgets on it are what is missing."""
    chosen: list[tuple[int, int]] = []
    spent = 0.0
    nearest = [min(budgets, key=lambda b: abs(math.log(b / row.flops))) for row in rows]
    for budget in budgets[:n_runs]:
        found = [k for k in range(len(rows)) if nearest[k] == budget]
        k = min(found, key=lambda k: state.after(k, rows[k]).sd())
        if allowance is not None and spent + rows[k].flops > allowance:
            break
        chosen.append((k, 0))
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
        n_layer=None if row.shape is None else row.shape.n_layer,
        d_model=None if row.shape is None else row.shape.d_model,
        steps=None if row.shape is None or not row.batch_tokens else round(row.tokens / row.batch_tokens),
    )
