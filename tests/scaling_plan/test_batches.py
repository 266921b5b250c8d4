"""Plans for time or money: one cost model, batches that can be dealt out, one loss for all of them."""

from __future__ import annotations

import itertools

import pytest

from forescale.base.config import ScheduleSection
from forescale.base.records.laws import PowerLaw
from forescale.base.records.plan import Plan
from forescale.scaling import published
from forescale.scaling.plan import plan

LAWS = published.laws("epoch")


def made(**options: object) -> Plan:
    given = {"flops": 3e21, "device": "h100", "price": 2.0} | options
    return plan(LAWS, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("gpus", "objective"), list(itertools.product((8, 64, 96, 1024, 8192), ("hours", "money"))))
def test_the_table_and_the_plan_say_the_same(gpus: int, objective: str) -> None:
    found = made(gpus=gpus, objective=objective)
    assert found.pareto
    row = next(p for p in found.pareto if p.batch_tokens == found.batch_tokens)
    assert found.layout is not None, found.warnings
    assert row.tokens == found.tokens
    assert row.hours == pytest.approx(24 * found.layout.days, rel=1e-9)
    assert found.cost.device_hours == pytest.approx(gpus * (row.hours or 0.0), rel=1e-9)
    assert row.money == pytest.approx(found.cost.money, rel=1e-9)


@pytest.mark.parametrize("gpus", [64, 1024, 8192])
def test_every_batch_of_the_table_can_be_dealt(gpus: int) -> None:
    for row in made(gpus=gpus, objective="hours").pareto or []:
        fixed = made(gpus=gpus, schedule=ScheduleSection(batch_tokens=row.batch_tokens))
        assert fixed.layout is not None, fixed.warnings


def test_one_loss_whatever_the_batch() -> None:
    plain = made()
    for gpus in (8, 64, 1024, 8192):
        found = made(gpus=gpus, objective="hours")
        assert found.forecast is not None
        assert plain.forecast is not None
        assert found.forecast.loss == pytest.approx(plain.forecast.loss, rel=1e-5)
        assert found.forecast.tokens == found.tokens


def test_what_a_batch_costs_is_called_so() -> None:
    found = made(gpus=8192, objective="hours")
    assert found.flops > 1.3 * found.flops_asked
    assert any("above the laws' own" in w for w in found.warnings)
    assert not any("rounded plan" in w for w in found.warnings)
    few = made(gpus=8, objective="hours")
    assert any("fastest and the cheapest" in w for w in few.warnings)


def test_the_rate_follows_the_batch() -> None:
    plain, found = made(), made(gpus=8, objective="hours")
    ratio = found.batch_tokens / plain.laws_say.batch_tokens
    assert found.learning_rate == pytest.approx(plain.learning_rate * ratio**0.5, rel=0.02)
    own = PowerLaw(coefficient=1e-5, exponents={"batch_tokens": 0.3})
    laws = LAWS.model_copy(update={"learning_rate": own})
    lawful = plan(laws, flops=3e21, device="h100", gpus=8, objective="hours")
    assert lawful.learning_rate == pytest.approx(1e-5 * lawful.batch_tokens**0.3, rel=1e-3)


def test_waiting_is_counted_and_said() -> None:
    """Days and money are kept by a smaller run, and what its devices wait for is named."""
    slow = plan("deepseek", days=0.02, gpus=8192, device="h100")
    assert slow.layout is not None
    assert slow.layout.days < 1.02 * 0.02
    assert any("the devices wait" in w and "each step's own time" in w for w in slow.warnings)
    assert not any("wait" in w for w in plan("deepseek", days=30, gpus=512, device="h100").warnings)


@pytest.mark.parametrize("heads", [16, 20, 28, 40])
def test_heads_that_share_a_split_with_the_devices_are_split(heads):
    """20 heads split by 5 within a node at most, and by 4 among 1,024 devices: nodes of 8 decide."""
    found = plan(LAWS, flops=1e21, gpus=1024, device="H100", objective="money", price=2.0,
                 shape={"n_layer": 28, "d_model": 128 * heads, "n_head": heads})  # fmt: skip
    assert found.layout is not None
    assert found.layout.tensor in (2, 4, 8)
    assert heads % found.layout.tensor == 0
    assert found.layout.data * found.layout.tensor * found.layout.pipeline == 1024
