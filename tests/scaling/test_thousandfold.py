"""A third of the rows and more a thousand times off in one column: refused, with the column, the rows and the factor."""

from __future__ import annotations

import pytest
from known_ladder import LAW, ladder

from forescale.base.errors import InputError
from forescale.scaling.table import read_runs

GROUPS = {"the larger budgets": range(18, 35), "every other row": range(1, 35, 2)}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize(("column", "factor", "says"), [("params", 1e3, "large"), ("tokens", 1e-3, "small")])
def test_a_group_a_thousand_times_off_is_refused(group, column, factor, says):
    rows = [{**row, column: row[column] * factor} if k in group else row for k, row in enumerate(ladder())]
    first = f"rows {group[0] + 1}, {group[1] + 1}"
    with pytest.raises(InputError, match=f"`{column}` is 1,000 times too {says} in 17 of 35 rows .{first}"):
        read_runs(rows)


def test_compute_tells_which_rows_are_wrong():
    rows = [{**row, "flops": 6 * row["params"] * row["tokens"]} for row in ladder()]
    rows = [{**row, "params": row["params"] * 1e3} if k >= 18 else row for k, row in enumerate(rows)]
    with pytest.raises(InputError) as error:
        read_runs(rows)
    assert "`flops` says that these are wrong" in error.value.why
    assert "in these rows" in error.value.remedy


def test_a_ladder_and_a_far_one_on_the_same_law_stay():
    small = ladder()
    large = []
    for row in small:
        size, tokens = row["params"] * 1e3, row["tokens"] * 1e3
        large.append({"params": size, "tokens": tokens, "loss": LAW.loss(size, tokens)})
    assert len(read_runs([*small, *large])) == 70
