"""What public ladders taught about the size of forecast errors; made by `make bench-laws`, facts with their sources."""

from __future__ import annotations

GROWTH = 0.006
"""Relative error that each unit of ln(distance) brings beyond what the parameter draws show."""
GROWTH_COUNT = 6.0
"""How many rolling-origin forecasts of the ladder at hand weigh as much as that."""
GROWTH_SHARE = 0.5
"""Share of the rolling-origin error that adds to the draws' spread (some of it is in both)."""
SCATTER_SHARE = 1.0
"""Share of the frontier's scatter around the surface that a new run shows."""
QUANTILES: tuple[tuple[float, float], ...] = (
    (0.025, -2.6), (0.05, -2.0), (0.1, -1.45), (0.25, -0.72), (0.5, 0.0), (0.75, 0.72), (0.9, 1.45), (0.95, 2.0),
    (0.975, 2.6),
)  # fmt: skip
"""Standardised ln(actual / predicted) over public ladders, by probability."""
PRE_SCALING = 2.0
"""Factor on the spread of ladders that have not left the bigram table behind (our probes: 17% misses)."""
STEEPENING = 2.0
"""Factor on the lower side where the curve steepens."""
