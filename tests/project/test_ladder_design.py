import itertools
from dataclasses import replace

import pytest

from forescale.base.config import load_recipe
from forescale.base.errors import ConfigError
from forescale.project.ladder import shape_rule
from forescale.scaling.ladder import MAX_TRUNK_RATIO, Grounds, design, largest_top, rungs, trunk_tokens


@pytest.fixture
def grounds():
    recipe, _ = load_recipe(None, ["model.seq_len=128", "model.head_dim=16", "model.ffn_multiple=16"])
    return Grounds(shape_rule(recipe.model, 512), "tokens", "tokenizer", "runs", "text", 10**7, recipe)


def test_every_run_costs_what_its_budget_says(grounds):
    for spec in design([2e11, 4e11, 8e11], grounds, seed=0).specs:
        for tokens, budget in zip(spec.branches, spec.budgets, strict=True):
            assert tokens % spec.batch_tokens == 0
            assert spec.batch_tokens % spec.shape.seq_len == 0
            assert tokens * spec.shape.flops_per_token == pytest.approx(budget, rel=0.02)


def test_trunks_share_their_first_stage_and_never_span_more_than_four_times(grounds):
    plan = design([1e11, 2e11, 4e11, 8e11], grounds, seed=0)
    assert all(max(s.branches) <= MAX_TRUNK_RATIO * min(s.branches) * 1.05 for s in plan.specs)
    apart = sum(t * s.shape.flops_per_token for s in plan.specs for t in s.branches)
    assert plan.flops < 0.8 * apart


def test_each_budget_has_sizes_rates_batches_and_replicates(grounds):
    plan = design([2e11, 4e11], grounds, seed=5)
    cells = {(s.shape, s.learning_rate, s.batch_tokens) for s in plan.specs}
    assert len({shape for shape, _, _ in cells}) == 3
    assert len({rate for _, rate, _ in cells}) == 3
    assert len({batch for _, _, batch in cells}) == 3
    seeds = [s.seed for s in plan.specs if (s.shape, s.learning_rate, s.batch_tokens) == _centre(plan)]
    assert len(set(seeds)) == len(seeds) == 3  # two trunks, and the control from scratch
    assert len({s.name for s in plan.specs}) == len(plan.specs)


def _centre(plan):
    cells = [(s.shape, s.learning_rate, s.batch_tokens) for s in plan.specs]
    return max(set(cells), key=cells.count)


def test_recipe_lists_replace_the_design(grounds):
    recipe, _ = load_recipe(None, ["ladder.learning_rates=[0.001, 0.002]", "ladder.batches=[256]", "model.seq_len=128"])
    other = Grounds(grounds.shape_for, "t", "k", "r", "g", 10**7, recipe)
    specs = design([2e11], other, seed=0).specs
    assert {0.001, 0.002} <= {s.learning_rate for s in specs}
    assert 256 in {s.batch_tokens for s in specs}


def test_no_budget_is_refused(grounds):
    with pytest.raises(ConfigError, match="no budgets"):
        design([], grounds, seed=0)


def test_more_minutes_give_a_larger_ladder_and_time_is_kept(grounds):
    grounds = replace(grounds, unique_tokens=10**12)

    def per_token(shape):
        return shape.hardware_flops_per_token / 4e10

    def target(flops):
        return flops / 5e10

    tops = [
        largest_top(60 * m, grounds, seed=0, cores=2, seconds_per_token=per_token, target_seconds=target, apart=10.05)
        for m in (3, 8, 60)
    ]
    assert tops == sorted(tops)
    for minutes, top in zip((3, 8, 60), tops, strict=True):
        seconds = design(rungs(top), grounds, seed=0).seconds(per_token, 2) + target(10.05 * top)
        assert seconds == pytest.approx(60 * minutes, rel=0.05)


def test_a_small_corpus_ends_the_ladder_before_the_time_does(grounds):
    def top(unique):
        return largest_top(
            3600, replace(grounds, unique_tokens=unique), seed=0, cores=2, apart=10.05,
            seconds_per_token=lambda shape: shape.hardware_flops_per_token / 4e10, target_seconds=lambda c: c / 5e10,
        )  # fmt: skip

    small, large = top(10_000_000), top(10**12)
    assert small < large
    longest = max(max(s.branches) for s in design(rungs(small), grounds, seed=0).specs)
    assert 8_000_000 < longest <= 10_000_000


def test_rungs_are_even_in_log_and_end_at_the_top():
    for top in (1e11, 1e12, 1e14):
        found = rungs(top)
        ratios = [b / a for a, b in itertools.pairwise(found)]
        assert found[-1] == top
        assert max(ratios) == pytest.approx(min(ratios))
        assert 1.69 <= ratios[0] <= 3.21


def test_packing_counts_shared_stages_once(grounds):
    spec = design([2e11, 4e11], grounds, seed=0).specs[0]
    assert trunk_tokens(spec) == pytest.approx(0.8 * max(spec.branches) + 0.2 * sum(spec.branches))
