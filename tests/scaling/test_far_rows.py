"""Rows far from the law are named, whoever judged it; healthy ladders have none."""

from __future__ import annotations

from forescale.scaling.far_rows import far_rows, far_warning
from forescale.scaling.fit import fit
from forescale.scaling.synthetic import make_ladder
from forescale.scaling.table import read_runs

ROWS = make_ladder("well-specified", 0).rows


def test_a_row_far_above_the_others_has_a_line():
    off = [{**row, "loss": 1.25 * row["loss"]} if k == 7 else row for k, row in enumerate(ROWS)]
    assert any("row 8" in warning for warning in fit(off).warnings)
    assert not any("the fitted law" in warning for warning in fit(ROWS).warnings)


def test_the_rule_alone():
    laws = fit(ROWS)
    table = read_runs([{**row, "loss": 1.25 * row["loss"]} if k == 7 else row for k, row in enumerate(ROWS)])
    far = far_rows(table, range(len(table)), laws.predictive, laws.surface)
    assert [row for row, _ in far] == [8]
    assert "row 8 +2" in far_warning(far)[0]


def test_rows_below_the_law_are_not_said_to_be_cut_short():
    above, below = far_warning([(3, 0.4), (5, -0.3)])
    assert "far above" in above
    assert "cut short" in above
    assert "row 5 -30.0%" in below
    assert "far below" in below
    assert "easier" in below
    assert "cut short" not in below
