"""Ladders without a slope: text that cannot be learnt, text known by heart, noise instead of a fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forescale.base.errors import InputError
from forescale.scaling.compare import compare
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.plan import plan
from forescale.scaling.residuals import residual_rows
from forescale.scaling.suggest import suggest
from forescale.scaling.synthetic import make_ladder
from forescale.scaling.table import read_runs

TARGET = 1e20


def flat_rows(seed: int, loss: Any, noise: float = 0.002, **extra: float) -> list[dict[str, Any]]:
    """The design of a synthetic ladder with other losses: `loss` of compute, and relative noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in make_ladder("well-specified", seed).rows:
        value = loss(row["budget"]) * float(np.exp(noise * rng.standard_normal()))
        rows.append({**row, **extra, "loss": value})
    return rows


def random_text(flops: float) -> float:
    """Six bits a byte, and what a model has still to unlearn."""
    return 6.0 + 0.08 * (flops / 1e17) ** -0.45


def words(warnings: list[str]) -> str:
    return " ".join(w for w in warnings if w.startswith("flat: "))


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_does_not_fall_has_a_floor_and_no_exponents(seed):
    found = fit(flat_rows(seed, lambda _: 4.2))
    assert "does not fall measurably" in words(found.warnings)
    assert found.allocation is None
    assert found.compute is None
    low, high = found.surface.intervals["E"]
    assert low < 4.2 < high
    assert high - low < 0.05 * 4.2
    made = forecast(found, flops=TARGET)
    assert made.interval[0] < 4.2 < made.interval[1]
    assert made.width < 0.06
    assert any("know no best split" in w and "same at any split" in w for w in made.warnings)
    chosen = forecast(found, model_scale=made.model_scale, tokens=made.tokens)
    assert not any("know no best split" in w for w in chosen.warnings)


@pytest.mark.parametrize("seed", range(3))
def test_text_at_its_bigram_entropy_has_nothing_to_learn(seed):
    found = fit(flat_rows(seed, random_text, steps=3000, bigram_loss=6.0171))
    assert "nothing to learn" in words(found.warnings)
    assert found.allocation is None
    assert found.compute is None
    assert found.regime == "scaling"
    assert pytest.approx(6.0, abs=0.03) == found.surface.E
    assert found.surface.intervals["E"][0] < 6.0 < found.surface.intervals["E"][1]
    made = forecast(found, flops=TARGET)
    assert made.interval[0] < random_text(TARGET) < made.interval[1]
    assert made.width < 0.02


def test_text_known_by_heart_ends_near_zero_with_an_absolute_interval():
    found = fit(flat_rows(1, lambda c: 0.002 * (c / 1e19) ** -0.1, noise=0.03))
    assert "known by heart" in words(found.warnings)
    assert found.allocation is None
    made = forecast(found, flops=TARGET)
    for outcome in (0.0006, 0.001, 0.0016, 0.0028):
        assert made.interval[0] < outcome < made.interval[1]
    assert made.interval[1] < 0.01


def test_a_plan_by_flat_laws_takes_its_split_from_deepseek():
    laws = fit(flat_rows(0, lambda _: 4.2))
    made = plan(laws, flops=TARGET, unique_tokens=1e9)
    assert any("allocation" in w and "deepseek" in w for w in made.warnings)
    usual = plan("deepseek", flops=TARGET, unique_tokens=1e9)
    assert made.model == usual.model
    assert made.flops < 1.1 * TARGET
    assert made.forecast.loss == pytest.approx(4.2, rel=0.01)


def test_no_run_is_suggested_for_a_flat_ladder():
    laws = fit(flat_rows(0, lambda _: 4.2))
    with pytest.raises(InputError, match="flat") as error:
        suggest(laws, TARGET)
    assert "does not fall" in error.value.why


def test_residuals_and_comparison_take_flat_laws():
    flat = flat_rows(0, lambda _: 4.2)
    table = read_runs(flat)
    rows = residual_rows(fit(table), table)
    assert all(abs(row.residual) < 0.02 for row in rows)
    both = [{**r, "group": "noise"} for r in flat] + [{**r, "group": "text"} for r in make_ladder("trunks", 0).rows]
    found = compare(both)
    assert found.corpora["noise"].allocation is None
    assert found.corpora["text"].allocation is not None


@pytest.mark.parametrize("kind", ["well-specified", "under-tuned top", "pre-scaling"])
def test_ladders_that_fall_are_not_called_flat(kind):
    assert not words(fit(make_ladder(kind, 1).rows).warnings)
