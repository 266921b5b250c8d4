"""Runs that diverged without a status: set aside where nothing better is known of their place, and only then."""

from __future__ import annotations

import pytest
from known_ladder import ladder

from forescale.scaling.fit import fit
from forescale.scaling.table import read_runs


def test_the_fit_is_that_of_the_runs_that_went_well():
    rows = ladder()
    spoilt = [{**row, "loss": 11.5} if k in (8, 24) else row for k, row in enumerate(rows)]
    found = fit(spoilt)
    assert [out.row for out in found.runs.left_out] == [9, 25]
    assert all("diverged?" in out.reason for out in found.runs.left_out)
    assert any("2 rows are set aside" in text for text in found.warnings)
    clean = fit([row for k, row in enumerate(rows) if k not in (8, 24)])
    assert found.surface == clean.surface
    assert found.allocation == clean.allocation


@pytest.mark.parametrize("factor", [1.4427, 1.8])
def test_a_row_less_than_twice_above_the_law_is_used(factor):
    rows = [{**row, "loss": row["loss"] * factor} if k == 8 else row for k, row in enumerate(ladder())]
    assert len(read_runs(rows)) == 35


def test_a_rate_that_diverged_where_others_did_not_serves_the_law_of_rates():
    rows = [{**row, "lr": 1e-3} for row in ladder()]
    rows += [{**row, "lr": 1e-1, "loss": 10.0} for row in rows[:5]]
    assert len(read_runs(rows)) == 40


def test_all_runs_of_a_place_that_diverged_are_set_aside():
    rows = [{**row, "lr": 1e-3, "loss": 11.0 if k == 8 else row["loss"]} for k, row in enumerate(ladder())]
    rows.append({**rows[8], "lr": 1e-2, "loss": 11.5})
    assert [out.row for out in read_runs(rows).left_out] == [9, 36]
