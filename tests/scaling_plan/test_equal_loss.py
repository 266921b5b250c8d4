"""Tokens against batch: the law's batch is the best one, and what others cost is what public grids and made ones show."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from forescale.base.config import ScheduleSection
from forescale.base.records.laws import Laws, PowerLaw
from forescale.base.records.plan import ParetoPoint
from forescale.base.runtime import test_data as find_test_data
from forescale.scaling import published
from forescale.scaling.cost import worth_showing
from forescale.scaling.equal_loss import CURVATURE, EqualLoss
from forescale.scaling.fit import fit
from forescale.scaling.guide import Guide
from forescale.scaling.hyper import fit_hyper
from forescale.scaling.plan import plan
from forescale.scaling.response import cells_of
from forescale.scaling.shapes import ShapeRules, nearest
from forescale.scaling.table import read_runs

COLUMNS = ["loss=smooth_loss", "params_non_embedding=params"]


def equal_of(laws: Laws, size: float) -> EqualLoss:
    rules = ShapeRules()
    return EqualLoss(nearest(size, rules, scale=laws.scale), Guide.of(laws, rules))


def with_batch(laws: Laws) -> Laws:
    return laws.model_copy(update={"batch": PowerLaw(coefficient=0.58, exponents={"tokens": 0.571}, curvature=0.02)})


@pytest.mark.parametrize("name", sorted(published.PUBLISHED))
def test_the_laws_batch_needs_fewest_tokens(name: str) -> None:
    for laws in (published.laws(name), with_batch(published.laws(name))):
        equal, tokens = equal_of(laws, 1e9), 2e10
        best = equal.best(tokens)
        needs = [equal.tokens(factor * best, tokens) for factor in (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)]
        known = [math.inf if need is None else need for need in needs]
        assert known[3] == pytest.approx(tokens, rel=1e-6)
        assert known[:4] == sorted(known[:4], reverse=True)
        assert known[3:] == sorted(known[3:])
        assert known[1] > 1.01 * tokens


def test_needing_and_being_worth_are_inverse() -> None:
    equal = equal_of(with_batch(published.laws("epoch")), 1e9)
    assert equal.curvature == 0.02
    for factor in (0.5, 3.0):
        batch = factor * equal.best(2e10)
        need = equal.tokens(batch, 2e10)
        assert need is not None
        assert equal.worth(batch, need) == pytest.approx(2e10, rel=1e-4)
    surface = published.laws("epoch").surface
    assert surface is not None
    batch, size = 3.0 * equal.best(2e10), equal.shape.params
    lost = surface.loss(size, equal.worth(batch, 2e10)) / surface.loss(size, 2e10)
    assert lost == pytest.approx(math.exp(0.01 * math.log(3.0) ** 2), rel=1e-5)


def test_the_response_of_made_runs_is_found() -> None:
    """Curvature of the batch 0.016, of the rate 0.020, and a pull of -0.5 between them: 0.012 at the best rate."""
    draw, rows = np.random.default_rng(3), []
    for size, per in itertools.product((1e8, 2e8, 4e8), (20, 60)):
        tokens = per * size
        for x, y in itertools.product(np.linspace(-1.5, 1.5, 6), np.linspace(-2.0, 2.0, 6)):
            rise = 0.010 * x**2 + 0.008 * y**2 - 0.5 * math.sqrt(0.02 * 0.016) * x * y
            loss = (1.8 + 400 / size**0.34 + 1500 / tokens**0.36) * math.exp(rise + 5e-4 * draw.standard_normal())
            rate, batch = 1.79 * size**-0.713 * tokens**0.307, 0.58 * tokens**0.571
            rows.append({
                "params_non_embedding": size, "tokens": tokens, "lr": rate * math.exp(x),
                "batch_tokens": batch * math.exp(y), "loss": loss,
            })  # fmt: skip
    rate_law, batch_law, _ = fit_hyper(read_runs(rows, scale="N1"))
    assert batch_law is not None
    assert batch_law.curvature == pytest.approx(0.016, rel=0.1)
    laws = published.laws("epoch").model_copy(update={"learning_rate": rate_law, "batch": batch_law})
    assert equal_of(laws, 1e9).curvature == pytest.approx(0.012, rel=0.1)


def test_step_laws_grid() -> None:
    """What a run at another batch is worth, against the grid's own tokens of that loss: sizes with three token counts."""
    data = find_test_data()
    if data is None or not (data / "scaling" / "steplaw_dense_small.csv").exists():
        pytest.skip("FORESCALE_TEST_DATA has no scaling/steplaw_dense_small.csv")
    source = data / "scaling" / "steplaw_dense_small.csv"
    laws = fit(source, scale="N1", columns=COLUMNS)
    cells = cells_of(read_runs(source, scale="N1", columns=COLUMNS))
    assert laws.batch is not None
    assert equal_of(laws, 1e9).curvature == pytest.approx(CURVATURE, rel=0.1)
    errors, plain = [], []
    for cell in cells:
        family = sorted((c.tokens, c.l.min()) for c in cells if abs(math.log(c.size / cell.size)) < 0.01)
        if len(family) < 3 or cell.tokens < family[-1][0] * 0.99:
            continue
        losses, counts = [loss for _, loss in family], [math.log(tokens) for tokens, _ in family]
        equal = equal_of(laws, cell.size)
        for batch in np.unique(np.round(cell.y, 3)):
            lowest = cell.l[np.abs(cell.y - batch) < 0.01].min()
            if lowest < losses[0] and abs(batch - math.log(equal.best(cell.tokens))) < math.log(5.0):
                measured = float(np.interp(-lowest, [-loss for loss in losses], counts))
                errors.append(abs(math.log(equal.worth(math.exp(batch), cell.tokens)) - measured))
                plain.append(abs(math.log(cell.tokens) - measured))
    assert len(errors) > 15
    assert np.mean(errors) < 0.06
    assert np.mean(errors) < 0.5 * np.mean(plain)
    for objective in ("hours", "money"):
        made = plan(laws, flops=1e20, gpus=8, device="h100", price=2.0, objective=objective)  # type: ignore[arg-type]
        assert made.tokens > 0.99 * made.laws_say.tokens  # 30% fewer were claimed here, at a quarter of the batch


def test_a_fixed_batch_is_charged_where_the_laws_know_batches() -> None:
    laws = with_batch(published.laws("epoch"))
    plain = plan(laws, flops=1e21)
    fixed = ScheduleSection(batch_tokens=8 * plain.batch_tokens)
    far = plan(laws, flops=1e21, schedule=fixed)
    assert plain.forecast is not None
    assert far.forecast is not None
    assert far.forecast.loss > 1.02 * plain.forecast.loss
    assert any("x the laws' own" in w for w in far.warnings)
    borrowed = plan("epoch", flops=1e21, schedule=fixed)
    assert borrowed.forecast is not None
    assert borrowed.forecast.loss == pytest.approx(plain.forecast.loss, rel=1e-4)


def test_the_forecast_of_a_plan_is_of_its_rate_and_batch() -> None:
    for objective in ("flops", "hours"):
        made = plan(with_batch(published.laws("epoch")), flops=1e21, gpus=1024, device="h100", objective=objective)  # type: ignore[arg-type]
        assert made.forecast is not None
        assert (made.forecast.learning_rate, made.forecast.batch_tokens) == (made.learning_rate, made.batch_tokens)


def test_only_what_no_other_batch_undercuts_is_listed() -> None:
    made = plan("deepseek", flops=1e21, gpus=1024, device="h100", price=2.0, objective="hours")
    assert made.pareto is not None
    for one, other in itertools.permutations(made.pareto, 2):
        assert one.tokens < other.tokens or (one.hours or 0.0) < (other.hours or 0.0)
    rows = [ParetoPoint(batch_tokens=b, tokens=t, hours=h, money=None)
            for b, t, h in ((1, 9.0, 9.0), (2, 5.0, 5.0), (4, 6.0, 4.0), (8, 8.0, 4.5))]  # fmt: skip
    assert [p.batch_tokens for p in worth_showing(rows, 2)] == [2, 4]
    assert [p.batch_tokens for p in worth_showing(rows, 8)] == [2, 4, 8]
