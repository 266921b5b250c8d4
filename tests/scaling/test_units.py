"""Counts in millions and billions, columns that are no loss, and compute that disagrees: said, set aside or refused."""

from __future__ import annotations

import math
import os
import re

import pytest

from forescale.base.errors import InputError
from forescale.scaling.fit import fit
from forescale.scaling.header_units import unit_of
from forescale.scaling.table import read_runs

COMPUTE = (1e18, 3e18, 1e19, 3e19)
ROWS = [
    {"params": n, "tokens": c / 6 / n, "loss": 1.8 + 480 / n**0.35 + 2100 / (c / 6 / n) ** 0.37}
    for c in COMPUTE
    for n in (f * (c / 120) ** 0.5 for f in (0.4, 0.63, 1.0, 1.6, 2.5))
]
ODD = (2, 5, 9, 13, 17)


def changed(name, factor, rows=ODD):
    return [{**row, name: row[name] * factor} if k in rows else row for k, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("name", "factor", "unit"),
    [("tokens", 1e-9, "billions"), ("tokens", 1e-6, "millions"), ("params", 1e-6, "millions")],
)
def test_rows_in_another_unit_are_set_aside_with_the_unit(name, factor, unit):
    table = read_runs(changed(name, factor))
    assert [out.row for out in table.left_out] == [k + 1 for k in ODD]
    assert all(f"{name} is" in out.reason and f"in {unit}?" in out.reason for out in table.left_out)
    assert any("rows 3, 6, 10, 14, 18" in warning for warning in table.warnings)


@pytest.mark.parametrize(
    ("params", "tokens", "said"), [(1e-6, 1e-9, "millions and billions"), (1.0, 1e-9, "billions"), (1e-6, 1.0, "mill")]
)
def test_whole_columns_in_another_unit_are_refused_with_a_remedy_that_works(params, tokens, said):
    rows = [{**row, "params": row["params"] * params, "tokens": row["tokens"] * tokens} for row in ROWS]
    with pytest.raises(InputError, match=said) as error:
        read_runs(rows)
    columns = [word.replace("'", "") for word in error.value.remedy.split() if "=" in word]
    assert read_runs(rows, columns=columns).flops.max() == pytest.approx(3e19)


def test_headers_may_state_the_unit():
    rows = [{"Params (M)": r["params"] / 1e6, "tokens_b": r["tokens"] / 1e9, "loss": r["loss"]} for r in ROWS]
    table = read_runs(rows)
    assert table.flops.max() == pytest.approx(3e19)
    assert table.guesses["params"] == "Params (M) x 1e6"
    assert table.guesses["tokens"] == "tokens_b x 1e9"
    plain = read_runs([{"Params (M)": r["params"], "tokens": r["tokens"], "loss": r["loss"]} for r in ROWS])
    assert any("holds plain counts" in warning for warning in plain.warnings)
    assert unit_of("params_non_embedding") == ("params_non_embedding", 1.0)
    assert unit_of("params_in_millions") == ("params", 1e6)
    assert unit_of("d_m") == ("d_m", 1.0), "a width, as like as not"


def test_small_ladders_are_not_taken_for_another_unit():
    small = [{"flops_per_token": m, "tokens": 10 * m, "loss": 4 - m / 1e7} for m in (1.6e5, 3e5, 1e6, 4e6)]
    assert len(read_runs(small)) == 4


def test_a_column_that_rises_is_no_loss():
    with pytest.raises(InputError, match="is this a loss"):
        fit([{**row, "loss": 1 / row["loss"]} for row in ROWS])


def test_two_units_of_loss_leave_no_regime():
    laws = fit([{**row, "loss": row["loss"] / (3 if k % 2 else 1)} for k, row in enumerate(ROWS)])
    assert laws.regime == "unknown"


@pytest.mark.parametrize("name", ["flops", "budget"])
def test_compute_of_another_unit_is_said_with_its_factor(name):
    rows = [{**row, name: 6e3 * row["params"] * row["tokens"]} for row in ROWS]
    table = read_runs(rows)
    assert any(f"`{name}` is 1e+03 x 6 x N2 x tokens in 20 of 20 rows" in warning for warning in table.warnings)
    assert table.budget.max() == pytest.approx(3e19)
    some = [{**row, name: 6 * row["params"] * row["tokens"] * (1e3 if k in ODD else 1)} for k, row in enumerate(ROWS)]
    assert any("in 5 of 20 rows" in warning and "rows 3, 6" in warning for warning in read_runs(some).warnings)
    sized = [{"flops_per_token": r["params"], **{k: r[k] for k in ("tokens", "flops", "loss")}} for r in rows] if (
        name == "flops"
    ) else []  # fmt: skip
    if sized:
        with pytest.raises(InputError) as error:
            read_runs(sized)
        assert "6e+03 x size x tokens" in error.value.why


@pytest.mark.parametrize(("name", "factor"), [("tokens", 1e3), ("tokens", 1e-3), ("params", 1e3), ("params", 1e-3)])
def test_a_row_a_thousand_times_off_is_set_aside_and_the_fit_made_without_it(name, factor):
    laws, clean = fit(changed(name, factor, [7])), fit([row for k, row in enumerate(ROWS) if k != 7])
    (out,) = laws.runs.left_out
    assert out.row == 8
    assert f"{name} is" in out.reason
    assert ("1,000 times too large?" if factor > 1 else "1,000 times too small?") in out.reason
    assert any("row 8" in warning and "set aside" in warning for warning in laws.warnings)
    assert laws.surface == clean.surface


def test_compute_that_says_so_too_is_named_and_a_wrong_compute_costs_no_row():
    said = [{**row, "flops": 6 * row["params"] * row["tokens"]} for row in ROWS]
    rows = [{**row, "tokens": row["tokens"] * (1e3 if k == 7 else 1)} for k, row in enumerate(said)]
    assert "`flops` say so too" in read_runs(rows).left_out[0].reason
    table = read_runs([{**row, "flops": row["flops"] * (1e3 if k == 7 else 1)} for k, row in enumerate(said)])
    assert len(table) == len(ROWS)
    assert any("`flops` is more than 5x off" in warning for warning in table.warnings)


def test_a_run_far_beyond_the_ladder_is_no_misplaced_row():
    n, d = 1e12, 2e13
    target = {"params": n, "tokens": d, "loss": 1.8 + 480 / n**0.35 + 2100 / d**0.37}
    assert len(read_runs([*ROWS, target])) == len(ROWS) + 1
    diverged = [{**row, "loss": row["loss"] * (1.4 if k == 7 else 1)} for k, row in enumerate(ROWS)]
    assert len(read_runs(diverged)) == len(ROWS)


@pytest.mark.parametrize("group", [ODD, range(10), range(10, 20), (0, 7, 19)])
def test_bits_beside_nats_are_refused_with_the_rows_and_the_column_that_tells(group):
    rows = [{**row, "loss": row["loss"] / math.log(2) if k in group else row["loss"]} for k, row in enumerate(ROWS)]
    with pytest.raises(InputError, match=r"`loss` is in two units: .* 1\.44") as error:
        read_runs(rows)
    assert "bits x 0.6931 = nats" in error.value.remedy
    named = [{**row, "team": "x" if k in group else "y"} for k, row in enumerate(rows)]
    with pytest.raises(InputError) as error:
        read_runs(named)
    assert "--where team=y" in error.value.remedy
    assert len(read_runs(named, where=["team=y"])) == len(ROWS) - len(list(group))


@pytest.mark.skipif("FORESCALE_TEST_DATA" not in os.environ, reason="needs the public tables")
@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("chinchilla_points", {}, 245),
        ("marin_isoflop_comma", {}, 85),
        ("porian_isoflop_refinedweb", {"where": ["loss_kind=val"]}, 472),
        ("porian_isoflop_refinedweb", {"where": ["hparams=tuned", "loss_kind=train"]}, 104),
        ("gadre_overtrain_c4_rpj", {"group": "rpj"}, 35),
        ("gadre_overtrain_c4_rpj", {"group": "c4_original"}, 34),
        ("nanochat_isoflop_optima", {"where": ["style=transformer_only"]}, 4),
    ],
)
def test_public_tables_keep_all_their_rows(name, options, rows):
    table = read_runs(f"{os.environ['FORESCALE_TEST_DATA']}/scaling/{name}.csv", **options)
    assert len(table) == rows
    assert not table.left_out


def test_a_factor_that_all_rows_share_is_said_and_mended_as_it_says():
    rows = [{**row, "flops": 3 * row["params"] * row["tokens"]} for row in ROWS]
    said = [warning for warning in read_runs(rows).warnings if "`flops`" in warning]
    assert "1/2 of 6 x N2 x tokens in 20 of 20 rows" in said[0]
    sized = [{"flops_per_token": 6 * row["params"], **{k: row[k] for k in ("tokens", "flops", "loss")}} for row in rows]
    with pytest.raises(InputError, match="no usable run") as error:
        read_runs(sized)
    assert "1/2 of size x tokens in 20 of 20 rows" in error.value.why
    assert len(read_runs(sized, columns=["flops=2*flops"])) == 20


def test_compute_in_another_unit_is_blamed_where_the_size_comes_from_it():
    rows = [
        {"tokens": row["tokens"], "loss": row["loss"], "flops": 6e-18 * row["params"] * row["tokens"]} for row in ROWS
    ]
    with pytest.raises(InputError, match=r"`flops` over `tokens` .* is `flops` in EFLOPs") as error:
        read_runs(rows)
    option = re.search("--column (flops='([^']*)')", error.value.remedy)
    assert option is not None
    assert len(read_runs(rows, columns=[f"flops={option[2]}"])) == len(ROWS)
