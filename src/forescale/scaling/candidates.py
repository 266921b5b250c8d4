"""Runs that could be made next: buildable ones in a workspace, else a continuum, or the rows of a table.

Only runs that the fit would admit (see `admissible`): enough steps, on the curve by its rungs, and expected below the
bigram entropy. One run that is none of these tells nothing, and takes every smaller budget off the curve with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forescale.base.errors import InputError
from forescale.base.records.laws import Laws, LeftOut
from forescale.base.shape import ModelShape
from forescale.scaling.admissible import MINIMUM_STEPS, NEEDED, STEPS_SLACK
from forescale.scaling.forecast import expected, optimum
from forescale.scaling.ladder import Grounds, centre_batch, centre_rate
from forescale.scaling.sources import read_rows

SIZE_FACTORS = (0.35, 0.6, 1.0, 1.7, 2.8)
"""Sizes around the optimum that a candidate may have."""
OFF_LINE = (0.5, 2.0)
"""Sizes off a line of tokens tied to size: at one compute, tokens per size then differ from it by 4x and more."""
TIED = "tokens are tied to size"
"""What the fit's own warning says of such a ladder."""
REACH = 4.0
"""Candidates go up to this many times the largest compute so far."""
TARGET_SHARE = 0.5
"""One run beyond the ladder costs at most this share of the target: dearer, and the target itself might be run."""
ALLOWANCE_SHARE = 0.5
"""And at most this share of what is left to spend: what it shows must leave something to act on."""
ABOVE = 1.25
"""A pre-scaling ladder's next budgets are this many times its largest, and apart: nearer, they are hardly its own."""
SAME_BUDGET = 1.2
"""Compute within this factor of one of the ladder's budgets becomes that budget."""


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
    shape: ModelShape | None = None
    """Where the run is buildable as it stands: tokens are then whole steps of whole sequences."""


@dataclass
class Offer:
    """The candidates, and what was left out of them."""

    runs: list[Candidate] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    """Rows of a table of candidates that are no runs, or none that the fit would admit."""
    budgets: list[float] = field(default_factory=list)
    """Off the curve: the new budgets that are wanted, one run of each."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why others of the grid were not offered, and how many of them."""


def tied(laws: Laws) -> bool:
    """Whether the runs' tokens go with their size, so that nothing tells the two apart."""
    return laws.surface is None and any(TIED in text for text in laws.warnings)


def offer(laws: Laws, target: float, *, grounds: Grounds | None, left: float | None) -> Offer:
    """Sizes around the optimum at each compute of `computes`; `grounds`: only what can be built there.

    Where tokens are tied to size, only sizes off their line: on it, no run tells the two apart.
    """
    factors = tuple(f for f in SIZE_FACTORS if f < OFF_LINE[0] or f > OFF_LINE[1]) if tied(laws) else SIZE_FACTORS
    found = Offer()
    admitted: dict[float, list[Candidate]] = {}
    for flops in computes(laws, target, left):
        best, _ = optimum(laws, flops)
        seen = set()
        for factor in factors:
            run = _loose(laws, flops, best * factor) if grounds is None else _built(laws, flops, best * factor, grounds)
            if run.size in seen:  # several sizes may have one nearest shape
                continue
            seen.add(run.size)
            why = _why_not(laws, run)
            if grounds is not None and run.tokens > grounds.unique_tokens:
                why = f"need more than the corpus's {grounds.unique_tokens:,} tokens"
            if why:
                found.refused[why] += 1
            else:
                admitted.setdefault(flops, []).append(run)
    if laws.regime == "pre-scaling":
        found.budgets = _spaced(list(admitted), NEEDED - sum(rung.admissible is not False for rung in laws.rungs))
        admitted = {flops: admitted[flops] for flops in found.budgets}
    found.runs = [run for runs in admitted.values() for run in runs]
    if not found.runs and not found.refused:
        found.refused[_too_near(laws, target, left)] += 1
    return found


def _spaced(budgets: list[float], wanted: int) -> list[float]:
    """So many of the budgets (one at least), evenly from the first to the last."""
    at = np.linspace(0, len(budgets) - 1, min(max(1, wanted), len(budgets)))
    return [budgets[round(i)] for i in at] if len(at) > 1 else budgets[-1:]


def _too_near(laws: Laws, target: float, left: float | None) -> str:
    """Why no budget of a ladder off the curve is open."""
    assert laws.largest is not None
    largest = laws.largest.flops
    words = f"larger budgets than {largest:.3g} FLOPs are wanted, but one run may cost at most"
    if left is not None and ALLOWANCE_SHARE * left < TARGET_SHARE * target:
        return f"{words} {ALLOWANCE_SHARE:.0%} of the {left:.3g} FLOPs left: set larger [ladder] budgets"
    return (
        f"{words} {TARGET_SHARE:.0%} of the target, which is only {target / largest:.3g} x that budget: set larger"
        " [ladder] budgets, or run the target itself"
    )


def computes(laws: Laws, target: float, left: float | None = None) -> list[float]:
    """FLOPs of candidates: the ladder's budgets from the smallest admissible one on, and steps of 2 beyond the largest.

    Off the curve only budgets above the largest can help, and as many as make a curve; where nobody can tell, the
    largest and those above it.
    """
    assert laws.largest is not None
    largest = laws.largest.flops
    low = {"pre-scaling": ABOVE * largest, "unknown": largest}.get(
        laws.regime, largest / 30.0 if laws.smallest_rung is None else laws.smallest_rung
    )
    top = min(REACH * largest, max(TARGET_SHARE * target, 0.0 if laws.regime == "pre-scaling" else largest))
    if left is not None:
        top = min(top, max(ALLOWANCE_SHARE * left, largest if low <= largest else 0.0))
    if top < low:
        return []
    if laws.regime == "pre-scaling":
        return [low * ABOVE**k for k in range(int(math.log(top / low) / math.log(ABOVE) + 1e-9) + 1)]
    count = max(2, round(math.log(top / low) / math.log(2.0)) + 1) if top > low * SAME_BUDGET else 1
    budgets = [rung.flops for rung in laws.rungs if rung.admissible is not False]
    return sorted({_as_budget(float(flops), budgets) for flops in np.geomspace(low, top, count)})


def _as_budget(flops: float, budgets: Sequence[float]) -> float:
    near = min(budgets, key=lambda b: abs(math.log(b / flops)), default=flops)
    return near if abs(math.log(near / flops)) <= math.log(SAME_BUDGET) else flops


def _loose(laws: Laws, flops: float, size: float) -> Candidate:
    """A run of any size and any number of tokens; its batch is whole sequences where their length is known."""
    tokens = flops / (laws.flops_factor * size)
    batch = None if laws.batch is None else laws.batch.value(flops=flops, size=size, tokens=tokens)
    length = laws.conditions.get("seq_len")
    if batch is not None:
        batch = min(batch, max(1.0, tokens / MINIMUM_STEPS))
        batch = _sequences(batch, int(length)) if isinstance(length, int | float) and length >= 1 else batch
    return Candidate(size, tokens, flops, _rate(laws, flops, size, tokens, batch), batch)


def _built(laws: Laws, flops: float, size: float, grounds: Grounds) -> Candidate:
    """The nearest run that can be trained: a real shape with its own M, whole sequences, whole steps."""
    shape = grounds.shape_for(size)
    m = shape.flops_per_token
    tokens = flops / m
    wanted = None if laws.batch is None else laws.batch.value(flops=flops, size=m, tokens=tokens)
    batch = _sequences(min(wanted or centre_batch(flops), tokens / MINIMUM_STEPS), shape.seq_len)
    whole = batch * max(1, round(tokens / batch))
    rate = _rate(laws, m * whole, m, whole, batch) or centre_rate(flops)
    return Candidate(m, float(whole), m * whole, rate, float(batch), shape=shape)


def _sequences(tokens: float, length: int) -> int:
    """Whole sequences of about so many tokens, one at least."""
    return length * max(1, round(tokens / length))


def _rate(laws: Laws, flops: float, size: float, tokens: float, batch: float | None) -> float | None:
    if laws.learning_rate is None:
        return None
    rate = laws.learning_rate.value(flops=flops, size=size, tokens=tokens, batch_tokens=batch)
    return rate if math.isfinite(rate) else None


def _why_not(laws: Laws, run: Candidate) -> str:
    """Why the fit would not admit a run (several of them: "need ...", "would ..."); empty where it would."""
    if run.batch_tokens is not None and run.tokens / run.batch_tokens < STEPS_SLACK * MINIMUM_STEPS:
        return f"would take fewer than about {MINIMUM_STEPS} steps"
    bigram = next((rung.bigram for rung in reversed(laws.rungs) if rung.bigram is not None), None)
    if bigram is not None and expected(laws, run.size, run.tokens) >= bigram:
        return f"would end above the bigram entropy {bigram:.4g}, by the laws"
    return ""


def offer_rows(laws: Laws, source: Any, exclude: set[int]) -> Offer:
    """Rows of a table of candidates: size and tokens (or either with flops), as in the run table, no loss needed."""
    from forescale.scaling.columns import number
    from forescale.scaling.named import name_columns
    from forescale.scaling.sizes import choose_sizes, resolve

    read = read_rows(source)
    rows = read.rows
    if not rows:
        raise InputError("the table of candidates has no rows", remedy="give one run a row: size and tokens")
    named = name_columns(rows, list(dict.fromkeys(name for row in rows for name in row)), ())
    rows, columns = named.rows, named.found
    sizes = choose_sizes(rows, columns, laws.scale).values[laws.scale]

    def cell(row: dict[str, Any], name: str) -> float | None:
        return number(row.get(columns[name])) if name in columns else None

    found = Offer()
    for i, row in enumerate(rows):
        if i + 1 in exclude:
            continue
        point = resolve(laws.scale, sizes[i], cell(row, "tokens"), cell(row, "flops"), cell(row, "budget"))
        seed = cell(row, "seed")
        run = Candidate(
            point.size, point.tokens, point.flops, cell(row, "lr"), cell(row, "batch_tokens"),
            0 if seed is None or not math.isfinite(seed) else int(seed), i + 1,
        )  # fmt: skip
        why = point.reason or _no_setting(run) or _why_not(laws, run)
        if why:
            found.left_out.append(LeftOut(row=i + 1, line=read.lines[i] if i < len(read.lines) else None, reason=why))
        else:
            found.runs.append(run)
    if not found.runs and found.left_out:
        first = found.left_out[0]
        raise InputError(
            f"none of the {len(found.left_out)} candidates is a run to choose",
            why="; ".join(f"row {bad.row}: {bad.reason}" for bad in found.left_out[:3]),
            remedy="give each row a size and tokens (see the run table's columns), enough for some 1,000 steps",
            file=source if isinstance(source, (str, Path)) else None,
            line=first.line,
        )
    return found


def _no_setting(run: Candidate) -> str:
    for name, value in (("lr", run.lr), ("batch_tokens", run.batch_tokens)):
        if value is not None and not 0 < value < math.inf:
            return f"{name} is {value:g}, not a positive number"
    return ""
