"""Intervals cover what they claim to cover."""

from __future__ import annotations

import numpy as np

from forescale.evaluate.intervals import ratio_bootstrap, wilson


def test_wilson_covers_a_share() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for successes in rng.binomial(60, 0.15, size=2000):
        low, high = wilson(int(successes), 60)
        inside += low <= 0.15 <= high
    assert 0.86 < inside / 2000 < 0.95


def test_wilson_at_the_edges() -> None:
    assert wilson(0, 30)[0] == 0 < wilson(0, 30)[1] < 0.12
    assert wilson(30, 30)[1] == 1
    assert wilson(0, 0) == (0, 1)


def test_bootstrap_of_a_ratio_covers_it() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for trial in range(200):
        sizes = rng.integers(50, 500, 80).astype(float)
        sums = sizes * (2.0 + rng.normal(0, 0.3, 80))
        low, high = ratio_bootstrap(sums, sizes, seed=trial, draws=300)
        inside += low <= 2.0 <= high
    assert 0.82 < inside / 200 < 0.96


def test_bootstrap_repeats_itself() -> None:
    sums, sizes = np.array([1.0, 2.0, 5.0]), np.array([1.0, 1.0, 2.0])
    assert ratio_bootstrap(sums, sizes, seed=3) == ratio_bootstrap(sums, sizes, seed=3)
