"""Tables that would give a silent nonsense number."""

from __future__ import annotations

import numpy as np
import pytest

from forescale.base.errors import InputError
from forescale.scaling.columns import number
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.synthetic import make_ladder

ROWS = make_ladder("well-specified", 0).rows


def table(path, head, rows):
    path.write_text(head + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def test_two_units_in_one_column_are_said():
    mixed = [{**row, "loss": row["loss"] / (3.0 if k % 2 else 1.0)} for k, row in enumerate(ROWS)]
    assert any("nats per token and bits per byte in one column" in w for w in fit(mixed).warnings)
    assert not any("one column" in w for w in fit(ROWS).warnings)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = table(tmp_path / "runs.csv", "params,tokens,loss,loss", [(1e8, 1e9, 3.0, 3.1)])
    with pytest.raises(InputError, match="two columns are named `loss`") as error:
        fit(path)
    assert error.value.line == 1


def test_a_row_with_too_many_cells_says_what_to_do(tmp_path):
    path = table(tmp_path / "runs.csv", "params,tokens,loss", [(1e8, 1e9, 3.0), (1e8, 2e9, 2, 9)])
    with pytest.raises(InputError, match="4 cells under 3") as error:
        fit(path)
    assert error.value.line == 3
    assert "quote" in error.value.remedy


def test_decimal_commas_are_not_read_as_thousands():
    assert number("3,14") is None
    assert number("12,345,678") == 12345678.0
    assert number("1,500") == 1500.0
    commas = [{**row, "loss": f"{row['loss']:.3f}".replace(".", ",")} for row in ROWS]
    with pytest.raises(InputError, match="no language model") as error:
        fit(commas)
    assert "decimal commas" in error.value.remedy


def test_two_seeds_that_disagree_do_not_make_a_ladder_flat():
    rows = [{**row, "seed": 0} for row in ROWS] + [{**ROWS[0], "seed": 1, "loss": 1.3 * ROWS[0]["loss"]}]
    found = fit(rows)
    assert any("seeds disagree strongly" in w for w in found.warnings)
    assert not any(w.startswith("flat") for w in found.warnings)
    assert found.allocation is not None


def test_a_very_long_table_is_thinned_and_says_so():
    rng = np.random.default_rng(0)
    size = np.exp(rng.uniform(np.log(1e7), np.log(1e9), 4000))
    tokens = size * np.exp(rng.uniform(1, 5, 4000))
    loss = (1.7 + 400 / size**0.34 + 410 / tokens**0.28) * np.exp(0.002 * rng.standard_normal(4000))
    laws = fit({"flops_per_token": size, "tokens": tokens, "loss": loss})
    assert any("4,000 different sizes" in warning for warning in laws.warnings)
    made = forecast(laws, model_scale=1e10, tokens=2e11)
    assert made.loss == pytest.approx(1.7 + 400 / 1e10**0.34 + 410 / 2e11**0.28, rel=0.01)
