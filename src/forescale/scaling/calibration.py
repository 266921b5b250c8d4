"""What public ladders taught about the size of forecast errors; made by `make bench-laws`, facts with their sources."""

from __future__ import annotations

GROWTH = 1.0
"""Relative error at e-fold extrapolation beyond what the parameter draws show, per (d ln L / d ln C)^2: a flat curve
cannot go wrong by much, a steep one (0.05 on large public ladders, 0.085 on laptop ones) can."""
GROWTH_COUNT = 120.0
"""How many rolling-origin forecasts of the ladder at hand weigh as much as that: ladders' own errors say little."""
GROWTH_SHARE = 0.5
"""Share of the rolling-origin error that adds to the draws' spread (some of it is in both)."""
UNCHECKED = 2.5
"""Factor on the growth of ladders too short for any rolling origin (our choice)."""
CHECK_COUNT, CHECK_PRIOR = 6, 3.0
"""The self-check's hidden runs count as this many, against a prior of this many forecasts that came out as usual."""
CHECK_RANGE = (0.6, 5.0)
"""How far the self-check may narrow or widen the spread."""
OFF_PRIOR = 0.5
"""Runs' worth of weight that holds the correction away from the best split at nothing."""
SCATTER_SHARE = 0.5
"""Share of the frontier's scatter around the surface that a new run shows."""
LEAST_SD = 0.003
"""Added in quadrature: no form is closer than this to the curves of public ladders, however quiet their runs."""
QUANTILES: tuple[tuple[float, float], ...] = (
    (0.01, -2.52), (0.025, -2.1), (0.05, -1.63), (0.1, -1.25), (0.25, -0.59), (0.5, -0.02), (0.75, 0.57), (0.9, 1.29),
    (0.95, 1.71), (0.975, 2.31), (0.99, 2.66),
)  # fmt: skip
"""Standardised ln(actual / predicted) by probability: halfway between a normal's and that of public ladders, whose five
families alone are too few (`python -m benchmarks.laws --calibrate` gives them)."""
DOWNWARDS = 0.03
"""Relative sd, for each factor e of compute below the smallest rung: fits look upwards, and on public ladders forecasts
below them are 0 to 12% off (`python -m benchmarks.laws`, table on forecasts downwards; our choice)."""
PRE_SCALING = 2.0
"""Factor on the spread of ladders that have not left the bigram table behind (our probes: 17% misses)."""
STEEPENING = 2.0
"""Factor on the lower side where the curve steepens, or may (copying, once learnt, lets the loss fall), and where the
largest budgets came out higher than forecast: if they are under-tuned, a tuned run beyond them falls below."""
LEAN = 1.0
"""Mean standardised error of the hidden budgets from which they came out higher, not just apart."""
