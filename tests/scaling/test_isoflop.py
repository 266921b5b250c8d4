"""IsoFLOP minima and the allocation law through them, on laws that are known."""

from __future__ import annotations

import math

import numpy as np

from forescale.base.records.laws import Surface
from forescale.scaling.fit import fit
from forescale.scaling.isoflop import minima
from forescale.scaling.noise import Cells
from forescale.scaling.predictive import surface_split

TRUTH = Surface(form="chinchilla", E=1.82, A=478.0, alpha=0.347, B=2143.0, beta=0.367)


def best(flops):
    exponent, log_coefficient = surface_split(TRUTH)
    return math.exp(log_coefficient + exponent * math.log(flops / 6))


def test_runs_of_one_budget_may_differ_by_some_compute():
    """The largest size has 8% more compute than the others: it looks better than it is."""
    size = best(1e18) * np.array((0.5, 1.0, 2.0))
    tokens = 1e18 / 6 / size * np.array((1.0, 1.0, 1.08))
    loss = np.array([TRUTH.loss(n, d) for n, d in zip(size, tokens, strict=True)])
    flops = 6 * size * tokens
    cells = Cells(
        size, tokens, flops, loss, np.full(3, 1e18), np.arange(3), np.full(3, 0.0007), tuple(np.array([i]) for i in range(3))
    )  # fmt: skip
    (raw,), (corrected,) = minima(cells, 6.0, 0.9), minima(cells, 6.0, 0.9, TRUTH)
    assert abs(math.log(raw.size / best(raw.flops))) > 0.05
    assert abs(math.log(corrected.size / best(corrected.flops))) < 0.02


def test_exponents_of_few_noisy_runs_hold_the_truth():
    """Four sizes at three budgets, 0.2% of noise that no replicate shows."""
    inside = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = [
            {
                "params": n,
                "tokens": c / 6 / n,
                "loss": TRUTH.loss(n, c / 6 / n) * math.exp(0.002 * rng.standard_normal()),
            }
            for c in (1e17, 1e18, 1e19)
            for n in best(c) * np.geomspace(0.25, 4, 4)
        ]
        allocation = fit(rows).allocation
        assert allocation is not None
        low, high = allocation.intervals["model_exponent"]
        inside.append(low <= TRUTH.beta / (TRUTH.alpha + TRUTH.beta) <= high)
        assert high - low < 0.2
    assert sum(inside) >= 9
