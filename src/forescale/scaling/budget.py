"""Days and money buy what devices do with them: the run that its own layout ends in time, with no step more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from forescale.scaling.planned_run import Run

CLOSE = 1.01
"""How near to each other the runs of a search end (our choice): steps fill the rest."""
TRIES = 16
BACK = 4.0
"""Factor by which compute shrinks while no layout holds the model (our choice)."""
AROUND = range(-3, 4)
STEP = 0.04
"""Runs tried around the one that the search ends at: 4% apart."""
LEAN = 1.15
"""A run whose steps were stretched or cut by more than this to fill its time is taken only where there is no other."""
FILLS = 6


@dataclass(frozen=True)
class Limit:
    """What a run may take: hours of all devices, and how a run of so much compute, or of fixed tokens, looks."""

    hours: float
    run_of: Callable[[float], Run]
    """Compute (FLOPs, M x D) -> run."""
    hours_of: Callable[[Run], float]
    """Hours of all devices; of a run without a layout, as if they never waited."""
    again: Callable[[Run, float], Run] | None
    """A run's shape on other tokens (at the laws' batch); None: the tokens are fixed."""


def within(flops: float, limit: Limit) -> Run:
    """The run that does most by the limit: the largest of several shapes around it, each with all the steps it allows.

    Where no run ends in time (shape and tokens are fixed, or a step is too long) the one that was asked for.
    """
    low, high = _around(flops, limit)
    asked = limit.run_of(flops)
    if low is None:
        return filled(asked, limit) or asked
    best = filled(limit.run_of(low), limit)
    tried = [limit.run_of(low * math.exp(STEP * k)) for k in AROUND] if high < math.inf else []
    for run in tried:
        made = filled(run, limit)
        if made is None or (run.layout is None and best is not None and best.layout is not None):
            continue
        lean = made.asked_flops / run.asked_flops
        if best is None or (1 / LEAN < lean < LEAN and made.asked_flops > best.asked_flops):
            best = made
    return best or asked


def _around(flops: float, limit: Limit) -> tuple[float | None, float]:
    """The largest compute found whose run ends in time, and the smallest that does not (or that no layout holds)."""
    low, high = None, math.inf
    for _ in range(TRIES):
        run = limit.run_of(flops)
        held = run.layout is not None or run.alone
        taken = limit.hours_of(run)
        if held and taken <= limit.hours:
            low = flops
        else:
            high = flops
        if low is not None and (high / low < CLOSE or taken == limit.hours):
            break
        if low is not None and high < math.inf:
            flops = math.sqrt(low * high)
        elif not held:
            flops /= BACK
        else:
            flops *= limit.hours / taken * (CLOSE if low is not None else 1.0 / CLOSE)
    return low, high


def filled(run: Run, limit: Limit) -> Run | None:
    """The same shape with as many whole steps as end in time; None where its first does not."""
    kept = run if limit.hours_of(run) <= limit.hours else None
    if limit.again is None:
        return kept
    for _ in range(FILLS):
        steps = math.floor(limit.hours / limit.hours_of(run) * run.steps * (1 + 1e-12))
        if steps < 1 or (kept is not None and steps == run.steps):
            break
        run = limit.again(run, run.asked_tokens * steps / run.steps)
        if limit.hours_of(run) <= limit.hours and (kept is None or run.asked_flops > kept.asked_flops):
            kept = run
    return kept
