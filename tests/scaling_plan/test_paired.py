"""Like runs of two corpora: the measured difference, its trend with compute, and what the laws may not say against it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_compare_suggest import laws

from forescale.base.records.compare import Better
from forescale.scaling.compare import compare_laws
from forescale.scaling.paired import contradictions, paired, trends, with_pairs

BUDGETS = (1e10, 2e10, 4e10, 8e10)
CROSSING = 3e10


def table(
    seed: int, slope: float = 0.0, level: float = 0.0, noise: float = 0.002, trunks: int = 8
) -> list[dict[str, Any]]:
    """Runs whose loss stands exp(level + slope ln(C / CROSSING)) times above a common one; a noise of the trunk's own."""
    rng = np.random.default_rng(seed)
    rows = []
    for trunk in range(trunks):
        own = noise * rng.standard_normal()
        for budget in BUDGETS:
            away = level + slope * math.log(budget / CROSSING) + own + 0.5 * noise * rng.standard_normal()
            common = (3 + 100 * budget**-0.2) * (1 + 0.1 * trunk)
            rows.append(
                {"budget": budget, "tokens": budget / 1e5, "flops_per_token": 1e5, "lr": 0.01, "seed": trunk,
                 "bpb": common * math.exp(away), "status": "finished"}
            )  # fmt: skip
    return rows


def test_pairs_measure_what_is_common_to_both_away() -> None:
    made = paired({"a": table(1, level=-0.03), "b": table(2)})
    assert [p.flops for p in made] == list(BUDGETS)
    assert all(p.runs == 8 and p.first_better == 8 for p in made)
    assert all(p.difference == pytest.approx(math.expm1(-0.03), abs=0.004) for p in made)
    other = [row | {"lr": 0.02} for row in table(2)]
    assert paired({"a": table(1), "b": other}) == []
    lost = [row | ({"status": "diverged"} if row["seed"] == 0 else {}) for row in table(2)]
    assert {p.runs for p in paired({"a": table(1), "b": lost})} == {7}


def test_a_trend_finds_the_crossing_and_is_sure_at_the_ends_only() -> None:
    (line,) = trends({"a": table(1, slope=0.01), "b": table(2)})
    assert line.slope == pytest.approx(0.01 * math.log(10), abs=0.004)
    assert line.interval[0] < line.slope < line.interval[1]
    assert line.crossing == pytest.approx(CROSSING, rel=0.35)
    assert line.points[0].first_better > 0.95
    assert line.points[3].first_better < 0.05
    assert line.points[-1].flops == pytest.approx(10 * BUDGETS[-1])
    (flat,) = trends({"a": table(1, level=0.02), "b": table(2)})
    assert flat.crossing is None
    assert trends({"a": table(1, trunks=3), "b": table(2, trunks=3)}) == []


def test_intervals_of_a_trend_hold_the_truth_about_as_often_as_they_say() -> None:
    inside = 0
    for seed in range(60):
        (line,) = trends({"a": table(2 * seed, slope=0.01), "b": table(2 * seed + 1)})
        inside += line.interval[0] <= 0.01 * math.log(10) <= line.interval[1]
    assert 47 <= inside <= 60  # 90% of 60 is 54; 47 has a chance of 0.3%


def test_a_crossing_of_like_runs_is_one_of_the_comparison_where_the_laws_see_none() -> None:
    made = compare_laws({"a": laws(1.5, spread=0.005), "b": laws(1.7, spread=0.005)})
    assert made.crossings == []
    (found,) = with_pairs(made, {"a": table(1, slope=0.01), "b": table(2)}).crossings
    assert found.pair == ("a", "b")  # a is better below
    assert found.flops == pytest.approx(CROSSING, rel=0.35)
    assert found.probability is not None
    assert found.probability > 0.9
    (turned,) = with_pairs(made, {"b": table(2), "a": table(1, slope=0.01)}).crossings
    assert turned.pair == ("a", "b")
    assert with_pairs(made, {"a": table(1, level=0.02), "b": table(2)}).crossings == []


def test_laws_that_say_the_opposite_of_sure_runs_are_named() -> None:
    lines = trends({"a": table(1, level=-0.03), "b": table(2)})
    assert contradictions([Better(flops=1e10, order=["a", "b"], probability=0.9)], lines) == []
    (said,) = contradictions([Better(flops=1e10, order=["b", "a"], probability=0.9)], lines)
    assert "like runs have a ahead by 3.0%" in said


def test_a_flat_ladder_beside_a_falling_one_gives_no_order_beyond_the_runs() -> None:
    falling, level = laws(1.5, spread=0.005), laws(1.7, spread=0.005)
    assert level.surface is not None
    flat = level.model_copy(update={"surface": level.surface.model_copy(update={"form": "flat"})})
    made = compare_laws({"falling": falling, "flat": flat})
    assert made.better
    assert max(b.flops for b in made.better) <= 1.05e17
    assert any(text.startswith("flat: the loss does not fall") for text in made.warnings)
    assert max(b.flops for b in compare_laws({"falling": falling, "level": level}).better) > 1e18
