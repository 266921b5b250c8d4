"""Learning-rate and batch laws: the paper's grids, Step Law's cells, tiny noisy ladders, what cannot be fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from forescale.base.runtime import test_data as data_folder
from forescale.scaling.hyper import fit_hyper
from forescale.scaling.hyper_model import Variables, fit_model
from forescale.scaling.response import cells_of, near_optimal, smooth
from forescale.scaling.table import RunTable, read_runs

LN2 = math.log(2)


def public(name: str, **options: Any) -> RunTable:
    folder = data_folder()
    if folder is None or not (folder / "scaling" / name).exists():
        pytest.skip(f"{name} is not here: set FORESCALE_TEST_DATA")
    return read_runs(folder / "scaling" / name, **options)


def paper_grids() -> RunTable:
    return public("deepseek_fig2_grid.csv")


def ladder(seed: int, noise: float, **changes: Any) -> list[dict[str, Any]]:
    """Four tiny budgets, a cross of rates and batches around a centre that is 30% off, two seeds; truth C^-.125."""
    rng = np.random.default_rng(seed)
    rows = []
    for flops in (1.25e11, 2.5e11, 5e11, 1e12):
        size = 0.22 * flops**0.5243
        rate, batch = 0.28 * flops**-0.125, 0.22 * flops**0.3271
        for at_rate, at_batch, run_seed in ((1, 1, 0), (1, 1, 1), (0.5, 1, 0), (2, 1, 0), (1, 0.5, 0), (1, 2, 0)):
            u, v = math.log(at_rate / 1.3), math.log(at_batch)
            spread = noise * 0.015 * (flops / 1e11) ** -0.3
            loss = 3.0 * (flops / 1e11) ** -0.09
            loss *= math.exp(0.02 * u * u + 0.015 * v * v - 0.012 * u * v + spread * rng.standard_normal())
            row = {
                "flops_per_token": size, "tokens": flops / size, "lr": rate * at_rate, "seed": run_seed,
                "batch_tokens": batch * at_batch, "loss": loss,
            }  # fmt: skip
            rows.append(row | changes)
    return rows


def test_the_papers_near_optimal_cells() -> None:
    small, large = cells_of(paper_grids())
    assert near_optimal(np.exp(small.l)).sum() == 5
    inside = near_optimal(np.exp(large.l))
    assert inside.sum() == 20
    assert large.y[inside].mean() / LN2 == pytest.approx(20.03, abs=0.01)
    assert large.x[inside].mean() / LN2 == pytest.approx(-9.70, abs=0.01)


def test_the_papers_grids_give_its_equation_1() -> None:
    rate, batch, _ = fit_hyper(paper_grids())
    assert rate is not None
    assert batch is not None
    tokens, size = 1e20 / 2.94e9, 2.94e9
    given = {"flops": 1e20, "size": size, "tokens": tokens}
    assert batch.value(**given) == pytest.approx(0.2920 * 1e20**0.3271, rel=0.15)
    assert rate.value(**given, batch_tokens=batch.value(**given)) == pytest.approx(0.3118 * 1e20**-0.125, rel=0.15)


def test_larger_cells_of_step_law_are_forecast() -> None:
    table = public(
        "steplaw_dense_small.csv", scale="N1", columns=["loss=smooth_loss", "params_non_embedding=params"]
    )  # fmt: skip
    cells = cells_of(table)
    assert len(cells) == 11
    train, test = cells[:4], cells[4:]
    fitted = fit_model(train, np.full(4, 0.0025), Variables(("size", "tokens")), Variables(("tokens",)))
    excess = []
    for cell, x, y in zip(test, *fitted.optimum(test), strict=True):
        surface = smooth(cell, 0.0025)
        assert surface is not None
        excess.append(surface.excess(float(x), float(y)))
    assert np.mean(excess) <= 0.0008
    assert max(excess) <= 0.0015


@pytest.mark.parametrize("off", [0.75, 1.0, 1.4])
@pytest.mark.parametrize("of_compute", [True, False])
def test_full_grids_around_a_wrong_centre_give_the_law_that_made_them(off: float, of_compute: bool) -> None:
    """Five sizes a budget, three rates and batches each; the law is one of compute, or one of size and tokens."""
    rng = np.random.default_rng(0)
    rows = []
    for flops in (1e17, 3e17, 1e18, 3e18, 1e19):
        for size in 0.22 * flops**0.5243 * np.array((0.33, 0.58, 1.0, 1.7, 3.0)):
            best = best_of(flops, float(size), of_compute)
            for at_rate in (0.5, 1.0, 2.0):
                for at_batch in (0.5, 1.0, 2.0):
                    rise = 0.02 * math.log(at_rate * off) ** 2 + 0.01 * math.log(at_batch * off) ** 2
                    loss = 1.7 + 60.0 * flops**-0.1
                    rows.append(
                        {
                            "flops_per_token": size, "tokens": flops / size, "lr": best[0] * at_rate * off, "seed": 0,
                            "batch_tokens": best[1] * at_batch * off,
                            "loss": loss * math.exp(rise + 0.001 * rng.standard_normal()),
                        }
                    )  # fmt: skip
    rate, batch, _ = fit_hyper(read_runs(rows))
    assert rate is not None
    assert batch is not None
    for flops in (1e20, 1e21):
        size = 0.22 * flops**0.5243
        given = {"flops": flops, "size": size, "tokens": flops / size}
        best = best_of(flops, size, of_compute)
        assert batch.value(**given) == pytest.approx(best[1], rel=0.2)
        assert rate.value(**given, batch_tokens=best[1]) == pytest.approx(best[0], rel=0.2)


def best_of(flops: float, size: float, of_compute: bool, tokens: float | None = None) -> tuple[float, float]:
    """Rate and batch: the paper's Eq. 1, or laws of Step Law's kind; tokens are flops / size where not given."""
    if of_compute:
        return 0.3118 * flops**-0.125, 0.2920 * flops**0.3271
    tokens = flops / size if tokens is None else tokens
    return 1.79 * size**-0.713 * tokens**0.307, 0.58 * tokens**0.571


ALLOWED = ({"flops"}, {"size", "tokens"}, {"size", "tokens", "batch_tokens"})
"""Sets of variables of the rate law; with compute beside size and tokens no exponent would mean anything."""


def coupled_grid(of_compute: bool, noise: float, seed: int) -> list[dict[str, Any]]:
    """Four sizes by three tokens a parameter, five rates by four batches, whose best rate rises with the batch."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in (5e7, 1e8, 2e8, 4e8):
        for tokens in (10 * size, 40 * size, 160 * size):
            rate, batch = best_of(6 * size * tokens, size, of_compute, tokens)
            for u in math.log(2) * np.arange(-2, 3):
                for v in math.log(2) * np.arange(-1.5, 2):
                    rise = 0.008 * u * u + 0.005 * v * v - 0.005 * u * v + noise * rng.standard_normal()
                    rows.append(
                        {
                            "params_non_embedding": size, "tokens": tokens, "lr": rate * math.exp(u),
                            "batch_tokens": batch * math.exp(v),
                            "loss": (1.8 + 480 * size**-0.35 + 2100 * tokens**-0.37) * math.exp(rise),
                        }
                    )  # fmt: skip
    return rows


@pytest.mark.parametrize("of_compute", [True, False])
@pytest.mark.parametrize(("noise", "worst"), [(0.0005, 0.0001), (0.002, 0.0015)])
def test_the_variables_of_the_truth_are_found(of_compute: bool, noise: float, worst: float) -> None:
    """A law in compute and batch is C^-0.2272 B^0.3125 where the best batch is C^0.3271: -0.2272 on size and tokens."""
    inside, excess = [], []
    for seed in range(3):
        rate, batch, warnings = fit_hyper(read_runs(coupled_grid(of_compute, noise, seed), scale="N1"))
        assert rate is not None
        assert batch is not None
        assert warnings == []
        assert set(batch.exponents) == ({"flops"} if of_compute else {"tokens"})
        assert set(rate.exponents) in ALLOWED
        k = 0.3125 if "batch_tokens" in rate.exponents else 0.0
        if of_compute:
            truth = dict.fromkeys(("flops", "size", "tokens"), -0.125 - k * 0.3271) | {"batch_tokens": k}
        else:
            truth = {"size": -0.713, "tokens": 0.307 - k * 0.571, "batch_tokens": k}
        inside += [rate.intervals[n][0] <= truth[n] <= rate.intervals[n][1] for n in rate.exponents]
        (low, high) = next(v for n, v in batch.intervals.items() if n != "coefficient")
        inside.append(low <= (0.3271 if of_compute else 0.571) <= high)
        size, tokens = 2e9, 2.4e11  # 7.5 times the largest compute
        best = best_of(6 * size * tokens, size, of_compute, tokens)
        given = {"flops": 6 * size * tokens, "size": size, "tokens": tokens}
        v = math.log(batch.value(**given) / best[1])
        u = math.log(rate.value(**given, batch_tokens=batch.value(**given)) / best[0])
        excess.append(0.008 * u * u + 0.005 * v * v - 0.005 * u * v)
    assert np.mean(inside) >= 0.7
    assert max(excess) <= worst


def test_a_batch_law_that_could_be_another_is_named_and_its_interval_reaches_it() -> None:
    rows = [r for r in coupled_grid(True, 0.02, 0) if r["tokens"] != 40 * r["params_non_embedding"]]
    _, batch, warnings = fit_hyper(read_runs(rows, scale="N1"))
    assert batch is not None
    told = [w for w in warnings if "agrees with these runs as well" in w]
    assert len(told) == 1
    (name,) = batch.exponents
    exact = fit_hyper(read_runs(coupled_grid(True, 0.0005, 0), scale="N1"))[1]
    assert exact is not None
    low, high = batch.intervals[name]
    true_low, true_high = exact.intervals["flops"]
    assert high - low > 3 * (true_high - true_low)
    given = {"flops": 1e21, "tokens": 1e21 / 6 / 2e9}
    # turned about the middle of the cells, the ends of the interval enclose the true batch far above them
    middle = {n: math.exp(np.mean(np.log([_of(r, n) for r in rows]))) for n in given}
    reach = [end * math.log(given[name] / middle[name]) for end in (low, high)]
    truth = 0.3271 * math.log(given["flops"] / middle["flops"])
    assert reach[0] <= truth <= reach[1]


def _of(row: dict[str, Any], name: str) -> float:
    return float(6 * row["params_non_embedding"] * row["tokens"] if name == "flops" else row["tokens"])


@pytest.mark.parametrize(("noise", "tolerance"), [(0.05, 0.10), (0.3, 0.35), (1.0, 0.7)])
def test_a_tiny_noisy_ladder_keeps_a_sane_slope(noise: float, tolerance: float) -> None:
    covered = 0
    for seed in range(3):
        rate, batch, warnings = fit_hyper(read_runs(ladder(seed, noise)))
        assert rate is not None
        assert batch is not None
        assert len(warnings) == 1
        assert "size and tokens grow together" in warnings[0]  # one size a budget: compute or tokens, who knows
        low, high = rate.intervals["flops"]
        covered += low < -0.125 < high
        assert abs(rate.exponents["flops"] + 0.125) < 0.1
        assert rate.value(flops=1e13) == pytest.approx(0.28 * 1.3 * 1e13**-0.125, rel=tolerance)
    assert covered >= 2


def test_less_noise_narrows_the_intervals() -> None:
    widths = []
    for noise in (0.1, 0.5):
        rate, _, _ = fit_hyper(read_runs(ladder(1, noise)))
        assert rate is not None
        low, high = rate.intervals["flops"]
        widths.append(high - low)
    assert widths[0] < widths[1]


def test_units_and_order_do_not_matter() -> None:
    rows = ladder(3, 0.3)
    rate, _, _ = fit_hyper(read_runs(rows))
    again, _, _ = fit_hyper(read_runs([row | {"loss": 2 * row["loss"]} for row in reversed(rows)]))
    assert rate is not None
    assert again is not None
    assert again.exponents["flops"] == pytest.approx(rate.exponents["flops"], abs=1e-3)
    assert again.coefficient == pytest.approx(rate.coefficient, rel=0.03)


def test_what_is_missing_is_said() -> None:
    rows = ladder(0, 0.1)
    one_rate = [row for row in rows if row["lr"] == rows[0]["lr"] or row["flops_per_token"] > 3e5]
    assert one_rate
    rate, batch, warnings = fit_hyper(read_runs([{k: v for k, v in r.items() if k != "lr"} for r in rows]))
    assert (rate, batch) == (None, None)
    assert any("no learning rate column" in w for w in warnings)
    fixed = [
        r for r in rows if r["batch_tokens"] == pytest.approx(0.22 * (r["flops_per_token"] * r["tokens"]) ** 0.3271)
    ]
    rate, batch, warnings = fit_hyper(read_runs(fixed))
    assert rate is not None
    assert batch is None
    assert any("no batch law" in w for w in warnings)
    largest = max(r["tokens"] for r in rows)
    rate, _, warnings = fit_hyper(read_runs([r for r in rows if r["tokens"] == largest]))
    assert rate is None
    assert any("one compute only" in w for w in warnings)


def test_an_optimum_at_the_edge_is_flagged() -> None:
    rows = [r for r in ladder(0, 0.02) if True]
    low_half = []
    for row in rows:
        centre = 0.28 * (row["flops_per_token"] * row["tokens"]) ** -0.125
        low_half.append(
            row | {"lr": row["lr"] / 4, "loss": row["loss"] * math.exp(0.04 * math.log(4 * centre / row["lr"]))}
        )
    _, _, warnings = fit_hyper(read_runs(low_half))
    assert any("beyond the highest tried" in w and "learning rate" in w for w in warnings)


def test_weight_decay_timescale_is_kept() -> None:
    rate, _, _ = fit_hyper(read_runs(ladder(0, 0.1, weight_decay=0.1, schedule="multi_step")))
    assert rate is not None
    assert rate.conditional_on["schedule"] == "multi_step"
    assert 0 < rate.conditional_on["decay_timescale"] < 10
