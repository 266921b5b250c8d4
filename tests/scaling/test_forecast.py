"""Forecast: targets, intervals, assumptions; synthetic ladders of every kind; texts of known entropy."""

from __future__ import annotations

import numpy as np
import pytest

from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.base.records.laws import Laws
from forescale.project.points import forecast_points
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.plan import plan
from forescale.scaling.synthetic import make_ladder

KEYS = {
    "loss", "interval", "level", "unit", "scale", "model_scale", "tokens", "flops", "learning_rate", "batch_tokens",
    "extrapolation", "source", "regime", "assumptions", "self_check", "warnings",
}  # fmt: skip


@pytest.fixture(scope="module")
def laws() -> Laws:
    rows = [{**r, "seq_len": 2048, "weight_decay": 0.1} for r in make_ladder("well-specified", 1).rows]
    return fit(rows)


def test_a_bare_laws_json_forecasts_with_an_interval(laws, tmp_path):
    laws.write(tmp_path / "laws.json")
    again = forecast(Laws.read(tmp_path / "laws.json"), flops=1e20)
    made = forecast(laws, flops=1e20)
    assert again.loss == made.loss
    assert again.interval == pytest.approx(made.interval, rel=1e-6)
    assert made.to_json().keys() >= KEYS
    assert made.extrapolation.flops == pytest.approx(10.0)


def test_laws_are_named_as_on_the_command_line(laws, tmp_path):
    laws.write(tmp_path / "laws.json")
    for named in (tmp_path, str(tmp_path), tmp_path / "laws.json"):
        assert forecast(named, flops=1e20).loss == forecast(laws, flops=1e20).loss
    assert forecast("chinchilla", flops=1e20).interval is None
    with pytest.raises(ConfigError, match="no published laws"):
        forecast("chinchila", flops=1e20)
    with pytest.raises(ArtifactError, match="no laws at"):
        forecast("not/here", flops=1e20)
    with pytest.raises(ConfigError, match="a dict is no laws"):
        forecast({"surface": None}, flops=1e20)


def test_the_interval_widens_with_level_and_distance(laws):
    near, far = forecast(laws, flops=2e19), forecast(laws, flops=1e21)
    assert near.width < far.width
    narrow, wide = forecast(laws, flops=1e20, level=0.5), forecast(laws, flops=1e20, level=0.95)
    assert wide.interval[0] < narrow.interval[0] < narrow.interval[1] < wide.interval[1]


def test_compute_alone_means_the_optimal_split(laws):
    made = forecast(laws, flops=1e20)
    size, _ = laws.allocation.split(1e20)
    assert made.model_scale == pytest.approx(size)
    assert made.model_scale * made.tokens == pytest.approx(1e20)


def test_differences_are_named_and_charged(laws):
    same = forecast(laws, flops=1e20, conditions={"seq_len": 2048})
    other = forecast(laws, flops=1e20, conditions={"seq_len": 8192, "validation": "other"})
    charged = {a.what: a.charged for a in other.assumptions}
    assert charged["seq_len"] > 0
    assert charged["validation"] > 0
    assert {a.what: a.charged for a in same.assumptions}["seq_len"] == 0
    assert other.width > same.width
    assert any("validation differs" in w for w in other.warnings)


def test_a_far_target_is_said(laws):
    made = forecast(laws, flops=1e24)
    assert any("further than forecasts were checked" in w for w in made.warnings)


def test_targets_that_cannot_be(laws):
    with pytest.raises(ConfigError):
        forecast(laws, flops=-1.0)
    with pytest.raises(ConfigError):
        forecast(laws, model_scale=1e9)
    with pytest.raises(ConfigError, match="two of the three"):
        forecast(laws, flops=1e20, model_scale=1e10, tokens=1e9)
    with pytest.raises(InputError, match="no loss"):
        forecast(Laws(), flops=1e20)


@pytest.mark.parametrize("seed", range(5))
def test_well_specified_ladders_are_forecast(seed):
    ladder = make_ladder("well-specified", 100 + seed)
    made = forecast(fit(ladder.rows), model_scale=ladder.size, tokens=ladder.tokens, level=0.95)
    assert made.loss == pytest.approx(ladder.expected, rel=0.025)
    assert made.interval[0] < ladder.outcome < made.interval[1]
    assert made.width < 0.12


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("broken law", "steepens"),
        ("under-tuned top", "did not come out"),
        ("trunks", "share trunks"),
        ("pre-scaling", "pre-scaling"),
    ],
)
@pytest.mark.parametrize("seed", [7, 8])
def test_every_other_kind_raises_its_alarm(kind, word, seed):
    found = fit(make_ladder(kind, seed).rows)
    assert any(word in warning for warning in found.warnings)
    if kind == "pre-scaling":
        assert found.regime == "pre-scaling"


def tiny(loss, bigram: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    rows = []
    for budget in (1e11, 3e11, 1e12):
        centre = 1.6e5 * (budget / 1e11) ** 0.45
        for factor, seeds in ((0.5, 1), (1.0, 2), (2.0, 1)):
            size = centre * factor
            rows += [
                {"flops_per_token": size, "tokens": budget / size, "budget": budget, "lr": 0.008, "seed": s,
                 "batch_tokens": 512, "steps": 1500, "bpb": loss(budget, rng), "bigram_bpb": bigram}
                for s in range(seeds)
            ]  # fmt: skip
    return rows


def test_random_letters_are_six_bits_and_stay_so():
    found = fit(tiny(lambda c, rng: 6.0 + 0.004 * (c / 1e11) ** -0.5 + 0.001 * abs(rng.standard_normal()), 6.0))
    made = forecast(found, flops=1e13)
    assert found.regime == "scaling"
    assert made.loss == pytest.approx(6.0, abs=0.02)
    assert made.width < 0.01


def test_periodic_text_is_near_nothing():
    found = fit(tiny(lambda c, rng: 0.01 * (c / 1e11) ** -0.9 * float(np.exp(0.2 * rng.standard_normal())), 0.002))
    made = forecast(found, flops=1e13)
    assert 0 < made.loss < 0.003


def test_a_laptop_ladder_on_prose():
    curve = {1e11: 2.852, 3e11: 2.589, 1e12: 2.342}

    def loss(budget, rng):
        return curve[budget] * float(np.exp(0.01 * (budget / 1e11) ** -0.3 * rng.standard_normal()))

    made = forecast(fit(tiny(loss, 2.9)), flops=1e13)
    assert made.loss == pytest.approx(1.944, rel=0.05)
    assert made.interval[0] < 1.944 < made.interval[1]
    assert made.width < 0.15


def test_doubts_of_a_fit_go_with_every_forecast_and_plan_from_it(tmp_path):
    """A third of the losses in another unit (bits per byte): fitted, warned of, and never forecast without saying so."""
    rows = make_ladder("well-specified", 0).rows
    mixed = fit([{**row, "loss": row["loss"] / (3.0 if k % 2 else 1.0)} for k, row in enumerate(rows)])
    assert mixed.doubts
    assert set(mixed.doubts) <= set(mixed.warnings)
    assert any("self-check failed" in text for text in mixed.doubts)
    laws = Laws.model_validate_json(mixed.model_dump_json())
    (tmp_path / "points.csv").write_text("flops_per_token,tokens\n1e9,1e11\n")
    made = forecast_points(laws, tmp_path / "points.csv", tmp_path / "out.csv")
    for warnings in (forecast(laws, flops=1e20).warnings, made["warnings"], plan(laws, flops=1e20).warnings):
        assert set(mixed.doubts) <= set(warnings)
    assert not fit(rows).doubts
