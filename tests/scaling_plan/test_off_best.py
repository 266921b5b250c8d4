"""A learning rate or batch away from the best one raises the forecast; conditions that cannot be are refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.laws import Laws
from forescale.project.example import expected_loss, runs_csv
from forescale.project.points import forecast_points
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast

FAR = 1e21


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> Laws:
    table = tmp_path_factory.mktemp("example") / "runs.csv"
    table.write_text(runs_csv())
    return fit(table)


@pytest.mark.parametrize(
    ("name", "factor", "skew"), [("lr", 8.0, 0.006), ("lr", 1 / 8, 0.006), ("batch_tokens", 0.05, 0.004)]
)
def test_a_value_within_the_ladders_range_is_charged_by_its_distance_from_the_best(laws, name, factor, skew) -> None:
    best = forecast(laws, flops=FAR)
    value = factor * (best.learning_rate if name == "lr" else best.batch_tokens)
    off = forecast(laws, flops=FAR, conditions={name: value})
    low, high = laws.conditions[name]
    assert low < value < high or name == "lr"
    truth = skew * math.log(factor) ** 2  # of the example's own law
    assert math.log(off.loss / best.loss) == pytest.approx(truth, rel=0.6)
    assert off.interval[0] >= best.interval[0]
    assert off.interval[1] > best.loss * (1 + truth)
    found = next(a for a in off.assumptions if a.what == name)
    assert found.charged > 0
    assert "the best" in found.why


def test_the_best_values_cost_nothing(laws) -> None:
    best = forecast(laws, flops=FAR)
    same = forecast(laws, flops=FAR, conditions={"lr": best.learning_rate, "batch_tokens": best.batch_tokens})
    assert same.loss == pytest.approx(best.loss, rel=1e-9)
    assert same.interval == pytest.approx(best.interval, rel=1e-6)


def test_laws_that_kept_no_response_charge_by_public_sweeps(laws) -> None:
    bare = {"curvature": None, "skew": None, "cross": None, "tried": None}
    old = laws.model_copy(update={"learning_rate": laws.learning_rate.model_copy(update=bare)})
    off = forecast(old, flops=FAR, conditions={"lr": 0.0065})
    found = next(a for a in off.assumptions if a.what == "lr")
    assert found.raised == pytest.approx(0.04, abs=0.015)
    assert "public sweeps" in found.why


def test_laws_without_a_law_of_the_rate_charge_upwards_beyond_the_runs(laws) -> None:
    bare = laws.model_copy(update={"learning_rate": None})
    best, off = forecast(bare, flops=FAR), forecast(bare, flops=FAR, conditions={"lr": 0.1})
    assert off.loss == best.loss
    assert off.interval[0] == best.interval[0]
    assert off.interval[1] > best.interval[1]


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"lr": -1}, "lr=-1"),
        ({"batch_tokens": -5}, "batch_tokens=-5"),
        ({"seq_len": "abc"}, "seq_len=abc"),
        ({"lr": ""}, "lr="),
        ({"unique_tokens": 0}, "unique_tokens=0"),
        ({"weight_decay": math.nan}, "weight_decay=nan"),
        ({"schedule": ""}, "says nothing"),
        ({"foo": 3}, "foo"),
    ],
)
def test_conditions_that_cannot_be(laws, conditions, words) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        forecast(laws, flops=FAR, conditions=conditions)
    assert refused.value.key in conditions


def test_an_unknown_condition_is_told_what_may_be_meant(laws) -> None:
    for written, meant in (("weigth_decay", "weight_decay"), ("learning_rate", "lr")):
        with pytest.raises(ConfigError) as refused:
            forecast(laws, flops=FAR, conditions={written: 0.1})
        assert f"did you mean `{meant}`" in refused.value.remedy


def test_columns_of_points_count_and_a_bad_one_is_named_by_its_line(laws, tmp_path: Path) -> None:
    points, out = tmp_path / "points.csv", tmp_path / "pred.csv"
    points.write_text("flops,batch_tokens\n1e21,43008\n1e21,\n")
    forecast_points(laws, points, out)
    small, best = (line.split(",") for line in out.read_text().splitlines()[1:])
    columns = out.read_text().splitlines()[0].split(",")
    predicted, batch = columns.index("predicted"), columns.index("batch_tokens")
    assert float(small[predicted]) > 1.02 * float(best[predicted])
    assert float(small[batch]) == 43008
    assert best[batch] == ""  # the table's own columns stay as they are
    points.write_text("flops,lr\n1e21,3e-4\n1e21,-1\n")
    with pytest.raises(InputError) as refused:
        forecast_points(laws, points, out)
    assert (refused.value.line, refused.value.key) == (3, "lr")


def test_the_examples_truth_is_inside(laws) -> None:
    size, tokens = forecast(laws, flops=FAR).model_scale, forecast(laws, flops=FAR).tokens
    off = forecast(laws, flops=FAR, conditions={"lr": 0.0065, "batch_tokens": 43008})
    truth = expected_loss(size, tokens, 0.0065 / (0.3118 * FAR**-0.125), 43008 / (0.2920 * FAR**0.3271))
    assert off.interval[0] < truth < off.interval[1]
