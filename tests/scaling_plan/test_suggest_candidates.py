"""Which runs are suggested: ones that the fit would admit, and in a workspace ones that can be trained as they stand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from forescale.base.config import load_recipe
from forescale.base.errors import InputError
from forescale.base.records.laws import Largest, Laws, Member, PowerLaw, Predictive, RungReport, Surface
from forescale.project.ladder import shape_rule
from forescale.scaling.candidates import ALLOWANCE_SHARE, REACH, TARGET_SHARE
from forescale.scaling.forecast import expected
from forescale.scaling.ladder import Grounds, suggested_spec
from forescale.scaling.published import split_of
from forescale.scaling.suggest import suggest

BUDGETS = (1e10, 2e10, 4e10, 8e10)


def small(bigram: float | None = None, good: int = 4, **more: Any) -> Laws:
    """Laws as of a ladder on a laptop up to 8e10 FLOPs, of which the last `good` budgets are on the curve."""
    surface = Surface(form="generalised", E=1.4, A=40.0, alpha=0.3, B=40.0, beta=0.3)
    draws = [[1.4 * math.exp(0.1 * s), 40.0, 0.3 * (1 + 0.1 * t), 40.0, 0.3, 1.0] for s in (-1, 0, 1) for t in (-1, 1)]
    rungs = [
        RungReport(flops=c, admissible=k >= len(BUDGETS) - good, best_loss=2.5, bigram=bigram, steps=1000.0)
        for k, c in enumerate(BUDGETS)
    ]
    normal = [(0.05, -1.645), (0.5, 0.0), (0.95, 1.645)]
    law = {"coefficient": 0.0303, "exponents": {"tokens": 0.74}}
    return Laws(
        scale="M", unit="bpb", source="made up", surface=surface, allocation=split_of(surface, 1.0), rungs=rungs,
        largest=Largest(flops=8e10, size=258048.0, tokens=898048.0), batch=PowerLaw.model_validate(law),
        smallest_rung=BUDGETS[-good] if good else None, regime="scaling" if good >= 3 else "pre-scaling",
        predictive=Predictive(members=[Member(surface=surface, weight=1.0)], draws=draws, sd_growth=0.01,
                              quantiles=normal),
        **more,
    )  # fmt: skip


@pytest.fixture
def grounds() -> Grounds:
    recipe, _ = load_recipe(None, ["model.seq_len=128", "model.head_dim=16", "model.ffn_multiple=16"])
    return Grounds(shape_rule(recipe.model, 512), "tokens", "tokenizer", "runs", "text", 10**7, recipe)


def test_in_a_workspace_the_very_run_that_is_suggested_is_trained(grounds: Grounds) -> None:
    runs = suggest(small(), 1e13, grounds=grounds, n_runs=8).runs
    assert runs
    for run in runs:
        spec = suggested_spec(run, grounds, BUDGETS, seed=1)
        assert spec.shape.flops_per_token == run.flops_per_token
        assert (spec.shape.n_layer, spec.shape.d_model) == (run.n_layer, run.d_model)
        assert spec.branches == (run.tokens,)
        assert spec.batch_tokens == run.batch_tokens
        assert spec.batch_tokens % 128 == 0
        assert run.steps is not None
        assert run.steps * spec.batch_tokens == run.tokens
        assert run.steps >= 800
        assert run.tokens * spec.shape.flops_per_token == run.flops


def test_a_run_of_a_budget_that_the_ladder_has_counts_for_it(grounds: Grounds) -> None:
    run = next(r for r in suggest(small(), 1e12, grounds=grounds, n_runs=8, allowance=8.1e10).runs)
    near = min(BUDGETS, key=lambda b: abs(math.log(b / run.flops)))
    assert suggested_spec(run, grounds, BUDGETS, seed=1).budgets == (near,)


def test_no_run_repeats_the_corpus(grounds: Grounds) -> None:
    poor = Grounds(grounds.shape_for, "t", "k", "r", "g", 400_000, grounds.recipe)
    assert all(run.tokens <= 400_000 for run in suggest(small(), 1e13, grounds=poor).runs)
    none = suggest(small(), 1e13, grounds=Grounds(grounds.shape_for, "t", "k", "r", "g", 1000, grounds.recipe))
    assert none.runs == []
    assert "corpus's 1,000 tokens" in none.warnings[-1]


@pytest.mark.parametrize("good", [3, 4])
def test_candidates_are_runs_that_the_fit_would_admit(good: int) -> None:
    laws = small(bigram=3.6, good=good)
    made = suggest(laws, 1e13, n_runs=8)
    assert made.runs
    for run in made.runs:
        assert run.flops_per_token is not None
        assert run.flops >= 0.99 * BUDGETS[-good]
        assert expected(laws, run.flops_per_token, run.tokens) < 3.6
        assert run.batch_tokens is None or run.tokens / run.batch_tokens >= 800
    above = suggest(small(bigram=1.0), 1e13)
    assert above.runs == []
    assert "above the bigram entropy" in above.warnings[-1]


def test_off_the_curve_larger_budgets_are_suggested_one_run_each() -> None:
    made = suggest(small(good=1), 1e13)
    flops = sorted(run.flops for run in made.runs)
    assert len(flops) == 2  # three on the curve are needed, one is there
    assert flops[0] > 1.2 * 8e10
    assert flops[1] > 1.2 * flops[0]
    assert any(w.startswith("pre-scaling") for w in made.warnings)
    assert any("not on the curve yet" in w for w in made.warnings)
    unknown = suggest(small().model_copy(update={"regime": "unknown"}), 1e13)
    assert any("unknown" in w for w in unknown.warnings)
    assert all(run.flops >= 0.99 * 8e10 for run in unknown.runs)
    near = suggest(small(good=0), 1e11)
    assert near.runs == []
    assert "larger budgets than 8e+10 FLOPs are wanted" in near.warnings[-1]


def test_runs_beyond_the_ladder_cost_a_share_of_target_and_allowance() -> None:
    for target, allowance in ((2e11, None), (1e13, None), (1e13, 3e11)):
        made = suggest(small(), target, allowance=allowance, n_runs=8)
        most = max(8e10, min(REACH * 8e10, TARGET_SHARE * target, ALLOWANCE_SHARE * (allowance or 1e99)))
        assert all(run.flops <= most * 1.001 for run in made.runs)


def test_from_a_bare_table_a_batch_is_whole_sequences_and_rounding_is_asked_for() -> None:
    made = suggest(small(conditions={"seq_len": 128.0}), 1e13)
    assert all(run.batch_tokens is not None and run.batch_tokens % 128 == 0 for run in made.runs)
    assert any("not rounded" in w for w in made.warnings)


def test_bad_candidates_are_counted_and_named(tmp_path: Path) -> None:
    table = tmp_path / "candidates.csv"
    table.write_text(
        "flops_per_token,tokens,batch_tokens\n2e5,4e5,256\n-1,4e5,\n2e5,,\n2e5,4e5,-128\n2e5,4e5,1e5\n3e5,4e5,256\n"
    )
    made = suggest(small(), 1e13, candidates=table)
    assert {run.row for run in made.runs} <= {1, 6}
    assert [(bad.row, bad.line) for bad in made.left_out] == [(2, 3), (3, 4), (4, 5), (5, 6)]
    words = next(w for w in made.warnings if "left out" in w)
    assert "4 of 6 candidates left out: row 2 (line 3): size is -1" in words
    assert "batch_tokens is -128" in words
    assert "steps" in words
    table.write_text("flops_per_token,tokens\n-1,4e5\n")
    with pytest.raises(InputError, match="none of the 1 candidates") as caught:
        suggest(small(), 1e13, candidates=table)
    assert caught.value.line == 2


def test_promises_are_discounted_by_what_came() -> None:
    believed, doubted = suggest(small(), 1e13), suggest(small(), 1e13, trust=0.5)
    assert doubted.width_expected == pytest.approx(believed.width_after)
    assert doubted.width_after == pytest.approx(math.sqrt(believed.width_after * believed.width_now))
