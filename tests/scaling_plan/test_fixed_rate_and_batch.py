"""A plan whose learning rate or batch is fixed is forecast as `forecast --conditions` has it."""

from __future__ import annotations

import pytest

from forescale.base.config import ScheduleSection
from forescale.base.errors import ConfigError
from forescale.project.example import runs_csv
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.plan import plan


@pytest.fixture(scope="module")
def laws(tmp_path_factory):
    file = tmp_path_factory.mktemp("runs") / "runs.csv"
    file.write_text(runs_csv())
    return fit(file)


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        ({"learning_rate": 2e-3, "batch_tokens": 1_048_576}, {"lr": 2e-3, "batch_tokens": 1_048_576}),
        ({"learning_rate": 2e-3}, {"lr": 2e-3}),
    ],
)
def test_plan_and_forecast_agree(laws, schedule, named):
    made = plan(laws, flops=3e21, schedule=ScheduleSection(**schedule))
    alone = forecast(laws, model_scale=made.forecast.model_scale, tokens=made.forecast.tokens, conditions=named)
    assert made.forecast.loss == pytest.approx(alone.loss, rel=1e-6)
    assert made.forecast.interval == pytest.approx(alone.interval, rel=1e-6)
    plain = forecast(laws, model_scale=made.forecast.model_scale, tokens=made.forecast.tokens)
    assert made.forecast.loss > 1.002 * plain.loss


def test_numbers_as_text_are_refused_by_name(laws):
    with pytest.raises(ConfigError, match="flops '3e21'"):
        forecast(laws, flops="3e21")
    with pytest.raises(ConfigError, match="flops must be a positive number"):
        plan(laws, flops="3e21")
