from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import BATCH, spec

from forescale.base.errors import ConfigError
from forescale.base.records.spec import Schedule
from forescale.train.schedule import branch_step, branch_steps, factor, total_steps


def test_the_papers_schedule_of_the_7b():
    # 2000 steps of warm-up, then the peak, 31.6% from 80% and 10% from 90% of 211,928 steps (paper 2.3, Table 2).
    n, s = 211_928, Schedule()
    assert factor(s, 2000, 0, n) == pytest.approx(1 / 2000)
    assert factor(s, 2000, 1999, n) == factor(s, 2000, int(0.8 * n), n) == 1.0
    assert factor(s, 2000, int(0.8 * n) + 1, n) == pytest.approx(0.316, abs=5e-4)
    assert factor(s, 2000, int(0.9 * n) + 1, n) == pytest.approx(0.1)


@given(st.integers(1, 100_000))
def test_a_branch_leaves_where_its_rate_first_differs(n: int):
    s, leave = Schedule(), branch_step(Schedule(), n)
    assert leave == n or factor(s, 0, leave, n) < 1.0
    assert leave == 0 or factor(s, 0, leave - 1, n) == 1.0


def test_constant_never_falls():
    s = Schedule(kind="constant")
    assert {factor(s, 0, step, 50) for step in range(50)} == {1.0}
    assert branch_step(s, 50) == 50


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"branches": ()}, "branches"),
        ({"branches": (BATCH * 8, BATCH * 4)}, "branches"),
        ({"branches": (100,)}, "branches"),
        ({"batch_tokens": 100}, "batch_tokens"),
    ],
)
def test_specs_that_cannot_be(tmp_path, changes, key):
    with pytest.raises(ConfigError) as caught:
        branch_steps(spec(tmp_path, **changes))
    assert caught.value.key == key


def test_work_counts_every_step_once(tmp_path):
    steps = branch_steps(spec(tmp_path))
    assert steps == [(32, 40), (64, 80)]
    assert total_steps(steps) == 8 + 80
    assert total_steps(steps, done=1) == 80 - 32
