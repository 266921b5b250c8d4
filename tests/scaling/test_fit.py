"""Fit: surfaces, laws, noise, regime, and what bad designs are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.laws import Laws
from forescale.base.runtime import test_data as data_folder
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.residuals import residual_rows
from forescale.scaling.synthetic import make_ladder
from forescale.scaling.table import read_runs

DATA = data_folder()
needs_data = pytest.mark.skipif(
    DATA is None or not (DATA / "scaling").is_dir(), reason="no public measurements (FORESCALE_TEST_DATA)"
)
LADDER = make_ladder("well-specified", 3)
KEYS = (
    "scale", "unit", "level", "runs", "surface", "allocation", "learning_rate", "batch", "compute", "noise", "regime",
    "smallest_rung", "self_check", "warnings",
)  # fmt: skip


@pytest.fixture(scope="module")
def laws() -> Laws:
    return fit(LADDER.rows)


@needs_data
def test_chinchilla_form_finds_the_bottom():
    found = fit(DATA / "scaling" / "chinchilla_points.csv", where=["epoch_outlier=0"], form="chinchilla")
    assert found.runs.used == 240
    assert found.surface.objective <= 0.0010182741
    assert pytest.approx(1.817218, abs=1e-4) == found.surface.E
    assert found.surface.alpha == pytest.approx(0.347310, abs=1e-4)
    assert found.surface.beta == pytest.approx(0.367172, abs=1e-4)


@needs_data
def test_porian_tuned_allocation_is_the_published_one():
    found = fit(DATA / "scaling" / "porian_isoflop_refinedweb.csv", where=["hparams=tuned", "loss_kind=val"])
    assert found.allocation.method == "isoflop"
    assert found.allocation.model_exponent == pytest.approx(0.497, abs=0.02)


def test_contract_keys_and_round_trip(laws):
    data = laws.to_json()
    assert list(data)[: len(KEYS)] == list(KEYS)
    assert Laws.model_validate(data) == laws
    assert laws.regime in ("scaling", "unknown")
    assert len(laws.predictive.draws) >= 300


def test_laws_come_near_the_truth(laws):
    assert laws.allocation.model_exponent == pytest.approx(
        LADDER.truth.beta / (LADDER.truth.alpha + LADDER.truth.beta), abs=0.08
    )
    low, high = laws.surface.intervals["alpha"]
    assert low - 0.05 < LADDER.truth.alpha < high + 0.05  # one ladder in ten may lie outside
    made = forecast(laws, model_scale=LADDER.size, tokens=LADDER.tokens)
    assert made.loss == pytest.approx(LADDER.expected, rel=0.02)
    assert made.interval[0] < LADDER.outcome < made.interval[1]
    assert laws.self_check.n >= 3


def test_noise_is_measured_on_replicates():
    rng = np.random.default_rng(0)
    rows = [
        {**row, "seed": seed, "loss": row["loss"] * float(np.exp(0.01 * rng.standard_normal()))}
        for row in LADDER.rows for seed in range(4)
    ]  # fmt: skip
    found = fit(rows)
    assert all(0.004 < point.seed_sd < 0.02 for point in found.noise)
    assert found.noise[0].replicates == 20


def test_losers_of_the_rate_comparison_do_not_move_the_surface(laws):
    worse = [{**row, "lr": 1e-3, "batch_tokens": 1e5} for row in LADDER.rows]
    worse += [{**row, "lr": 8e-3, "batch_tokens": 1e5, "loss": row["loss"] * 1.1} for row in LADDER.rows]
    found = fit(worse)
    assert pytest.approx(laws.surface.E, rel=1e-6) == found.surface.E
    assert found.runs.used == len(LADDER.rows)


def test_residuals_name_every_row(laws):
    rows = [*LADDER.rows, {**LADDER.rows[0], "loss": float("nan")}]
    table = read_runs(rows)
    listed = residual_rows(fit(table), table)
    assert [r.row for r in listed] == list(range(1, len(rows) + 1))
    assert listed[-1].reason == "the loss is nan"
    assert abs(listed[-2].residual) < 0.02
    influences = np.abs([r.influence for r in listed[:-1]])
    assert influences.max() > 3 * np.median(influences)


def test_an_unknown_form_is_exit_2():
    with pytest.raises(ConfigError, match="unknown"):
        fit(LADDER.rows, form="chinchila")


def line(count: int, tied: float | None = None, tokens: float | None = None, flops: float | None = None):
    rows = []
    for k in range(count):
        size = 1e7 * 3.0**k
        data = tokens or (flops / (6 * size) if flops else tied * size)
        rows.append({"params": size, "tokens": data, "loss": 1.8 + 500 / size**0.34 + 800 / data**0.33})
    return rows


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (line(6, tied=20.0), "tied to size"),
        (line(6, tokens=1e10), "one token budget"),
        (line(4, tied=20.0), "at least 5"),
    ],
)
def test_designs_that_cannot_tell_say_so(rows, word):
    found = fit(rows)
    assert found.surface is None
    assert found.allocation is None
    assert any(word in w for w in found.warnings)


def test_three_runs_are_no_law():
    with pytest.raises(InputError) as error:
        fit(line(3, tied=20.0))
    assert "at least 5" in error.value.why


def test_one_compute_budget_is_no_law():
    with pytest.raises(InputError) as error:
        fit(line(6, flops=1e18))
    assert "one compute" in error.value.why


def test_tied_tokens_still_forecast_along_the_tie():
    rows = line(6, tied=20.0)
    found = fit(rows)
    size = 1e7 * 3.0**7
    truth = 1.8 + 500 / size**0.34 + 800 / (20 * size) ** 0.33
    made = forecast(found, model_scale=size, tokens=20 * size)
    assert made.loss == pytest.approx(truth, rel=0.02)
    assert any("tied to size" in w for w in made.warnings)


def test_an_optimum_at_the_edge_is_flagged():
    rows = [r for r in LADDER.rows]
    top = max(r["budget"] for r in rows)
    sizes = sorted(r["flops_per_token"] for r in rows if r["budget"] == top)
    kept = [r for r in rows if r["budget"] != top or r["flops_per_token"] <= sizes[2]]
    rising = [
        {**r, "loss": r["loss"] + (0.3 if r["budget"] == top and r["flops_per_token"] < sizes[2] else 0)} for r in kept
    ]
    found = fit(rising)
    assert any("edge of the grid" in w and "larger" in w for w in found.warnings)


def test_seeds_that_disagree_strongly_are_named():
    rows = [{**LADDER.rows[0], "seed": s, "loss": 4.0 + 0.4 * s} for s in (0, 1)] + LADDER.rows[1:]
    assert any("seeds disagree strongly" in w for w in fit(rows).warnings)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(LADDER.rows))))
def test_the_order_of_rows_changes_nothing(order, laws):
    again = fit([LADDER.rows[k] for k in order])
    assert again.surface.alpha == pytest.approx(laws.surface.alpha, rel=1e-3)
    a, b = (forecast(found, flops=1e20) for found in (again, laws))
    assert a.loss == pytest.approx(b.loss, rel=1e-4)
    assert a.interval == pytest.approx(b.interval, rel=2e-3)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(power=st.integers(-3, 3))
def test_rescaled_sizes_change_nothing_but_the_unit(power, laws):
    factor = 10.0**power
    rows = [
        {**r, "flops_per_token": r["flops_per_token"] * factor, "budget": r["budget"] * factor} for r in LADDER.rows
    ]
    again = fit(rows)
    a = forecast(again, model_scale=LADDER.size * factor, tokens=LADDER.tokens)
    b = forecast(laws, model_scale=LADDER.size, tokens=LADDER.tokens)
    assert a.loss == pytest.approx(b.loss, rel=1e-6)
    assert a.interval == pytest.approx(b.interval, rel=1e-4)


def test_renamed_columns_change_nothing(laws):
    renamed = [{"M": r["flops_per_token"], "total_tokens": r["tokens"], "isoflop": r["budget"], "val/loss": r["loss"]}
               for r in LADDER.rows]  # fmt: skip
    again = fit(renamed)
    assert again.surface == laws.surface
    assert again.predictive == laws.predictive


def test_half_the_noise_narrows_and_a_missing_top_rung_widens():
    widths = []
    for noise in (0.008, 0.004):
        made = [forecast(fit(make_ladder("well-specified", s, noise=noise).rows), flops=1e20) for s in range(4)]
        widths.append(np.mean([m.width for m in made]))
    assert widths[1] < widths[0]
    rows = make_ladder("well-specified", 0).rows
    top = max(r["budget"] for r in rows)
    whole = forecast(fit(rows), flops=1e20)
    less = forecast(fit([r for r in rows if r["budget"] < top]), flops=1e20)
    assert less.width > whole.width


@pytest.mark.parametrize("name", ["band", "level"])
@pytest.mark.parametrize("share", [-1.0, 0.0, 5.0, float("nan")])
def test_shares_outside_0_and_1_are_refused(name, share):
    with pytest.raises(ConfigError, match=f"a {name} of .* is not between 0 and 1"):
        fit([], **{name: share})


def test_a_batch_in_sequences_is_not_called_missing():
    rows = [
        {"params": n, "tokens": d, "loss": 1.8 + 400 / n**0.34 + 2000 / d**0.36, "lr": 1e-3, "global_batch_size": 512}
        for n in (1e7, 3e7, 1e8)
        for d in (1e9, 3e9, 1e10)
    ]
    said = [text for text in fit(rows).warnings if text.startswith("no batch law")]
    assert said == [
        "no batch law: `global_batch_size` counts sequences, and without a column `seq_len` their tokens are unknown"
    ]
    known = [{**row, "seq_len": 2048} for row in rows]
    assert not any("seq_len" in text for text in fit(known).warnings)
