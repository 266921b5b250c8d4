"""Layouts: what makes devices wait is counted once, everywhere alike, and the layout chosen waits least."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest

from forescale.base.config import ScheduleSection
from forescale.base.shape import ModelShape
from forescale.scaling import layout
from forescale.scaling.devices import DEVICES, Device, device
from forescale.scaling.memory import USABLE, Split, memory
from forescale.scaling.plan import plan

SHAPE = ModelShape(29, 2560, 20, 20, 6912, 102_400, 4096)


def by_hand(shape: ModelShape, split: Split, sequences: int, on: Device, utilisation: float) -> float:
    """Seconds of a step, written out: (m + p - 1) turns of the longest stage, not less than the exchange, + 20 ms."""
    m = sequences / (split.data * split.micro_batch)
    tokens = split.micro_batch * shape.seq_len
    stage = math.ceil(shape.n_layer / split.pipeline)
    compute = shape.flops_per_token / shape.n_layer * stage * tokens / split.tensor / (on.peak_flops * utilisation)
    sent = 4 * 2 * (split.tensor - 1) / split.tensor * 2 * shape.d_model * tokens * stage
    turns = (m + split.pipeline - 1) * (compute + sent / on.link)
    ends = 2 if split.pipeline == 1 else 1
    params = stage * (shape.block_weights / shape.n_layer + 2 * shape.d_model) + shape.d_model
    params += ends * shape.vocab_size * shape.d_model
    wire = on.link if split.devices <= on.per_node else on.network
    exchange = 2 * 2 * params / split.tensor * (split.data - 1) / split.data / wire if wire else 0.0
    return max(turns, exchange) + 0.02


@pytest.mark.parametrize("name", ["h100", "a100-40gb", "rtx-4090"])
@pytest.mark.parametrize(("gpus", "sequences"), [(7, 30), (64, 527), (96, 96), (130, 48), (100, 7)])
def test_no_layout_is_sooner_done(name: str, gpus: int, sequences: int) -> None:
    """Against every split there is: all divisors of the batch, all stages, all tensor splits that share heads."""
    on, best = device(name), math.inf
    copies = [n for n in range(1, sequences + 1) if sequences % n == 0]
    for tensor, pipeline, data in itertools.product((1, 2, 4), range(1, 30), copies):
        for micro in (1, 2, 4, 8, 16):
            split = Split(data, tensor, pipeline, micro)
            if split.devices > gpus or sequences // data % micro:
                continue
            if memory(SHAPE, split, sequences).total <= USABLE * on.memory_gib:
                best = min(best, by_hand(SHAPE, split, sequences, on, 0.4))
    found, reasons = layout.choose(SHAPE, 4096 * sequences, SHAPE.flops_per_token * 4096e3 * sequences, gpus, on, 0.4)
    if found is None:
        assert best == math.inf
        assert reasons
        return
    assert found.days * 86_400 / 1000 == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("gpus", [1, 7, 64, 1000, 10007])
@pytest.mark.parametrize("objective", ["flops", "hours"])
def test_hours_are_compute_over_what_is_busy(gpus: int, objective: str) -> None:
    made = plan("deepseek", flops=1e21, gpus=gpus, device="h100", price=2.0, objective=objective)  # type: ignore[arg-type]
    assert made.layout is not None
    assert made.layout.waits is not None
    assert made.layout.busy is not None
    lost = made.layout.waits.to_json()
    assert all(0 <= value < 1 for value in lost.values())
    assert made.layout.busy == pytest.approx(math.prod(1 - value for value in lost.values()))
    hours = made.flops / (gpus * 989.4e12 * 0.4 * made.layout.busy) / 3600
    assert 24 * made.layout.days == pytest.approx(hours, rel=1e-6)
    assert made.cost.device_hours == pytest.approx(gpus * hours, rel=1e-6)
    assert made.cost.money == pytest.approx(2 * gpus * hours, rel=1e-6)
    used = made.layout.data * made.layout.tensor * made.layout.pipeline
    assert made.layout.waits.idle == pytest.approx(1 - used / gpus)
    assert any("the devices wait" in w for w in made.warnings) == (made.layout.busy < 0.9)


def test_a_bubble_and_uneven_stages_are_charged() -> None:
    """Heads that do not split and a network too slow for copies leave stages as the way to use 16 devices."""
    shape = ModelShape(30, 4096, 32, 1, 11008, 102_400, 4096)
    slow = dataclasses.replace(device("h100"), network=1e8)
    found, _ = layout.choose(shape, 64 * 4096, 1e18, 16, slow, 0.4)
    assert found is not None
    assert found.waits is not None
    stages, each = found.pipeline, 64 // (found.data * found.micro_batch)
    assert stages > 1
    assert found.waits.bubble == pytest.approx((stages - 1) / (each + stages - 1))
    assert found.waits.uneven == pytest.approx(1 - 30 / (math.ceil(30 / stages) * stages))


@pytest.mark.parametrize("sharding", ["full", "zero1"])
def test_the_state_of_each_sharding(sharding: str) -> None:
    """By ZeRO's formulas, with gradients of 4 bytes: 16 / d a parameter, or 6 + 12 / d."""
    shape = ModelShape(30, 4096, 32, 32, 11008, 102_400, 4096)
    params = shape.params
    alone, shared = (memory(shape, Split(d, 1, 1, 1, sharding), 64).state * 2**30 for d in (1, 64))  # type: ignore[arg-type]
    gathered = 2 * (2 * shape.block_weights / 30 + 102_400 * 4096)
    if sharding == "full":
        assert alone == pytest.approx(16 * params + gathered, rel=1e-3)
        assert shared == pytest.approx(16 * params / 64 + gathered, rel=1e-3)
    else:
        assert alone == pytest.approx(18 * params, rel=1e-3)
        assert shared == pytest.approx(6 * params + 12 * params / 64, rel=1e-3)


def test_the_papers_sharding_holds_its_model() -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "deepseek-67b.toml"
    own = plan("deepseek", recipe=recipe, gpus=1024, device="h800")
    full = plan("deepseek", recipe=recipe, gpus=1024, device="h800", sharding="full")
    assert own.layout is not None
    assert full.layout is not None
    assert (own.layout.sharding, full.layout.sharding) == ("zero1", "full")
    assert own.layout.memory_gib_per_device < 72
    assert own.layout.tensor * own.layout.pipeline > full.layout.tensor * full.layout.pipeline
    alone = Split(own.layout.data, 1, 1, 1, "zero1")
    assert memory(own.model.shape, alone, 4608).total > 400  # whole weights and gradients on one device


def test_what_no_layout_holds_is_said_with_what_would_do() -> None:
    big = {"n_layer": 80, "d_model": 8192, "n_head": 64, "n_kv_head": 8}
    small = plan("deepseek", flops=1e23, gpus=8, device="h100", shape=big, price=2.0)
    assert small.layout is None
    assert small.cost.device_hours == pytest.approx(small.flops / (989.4e12 * 0.4) / 3600)
    assert any("never wait" in w for w in small.warnings)
    said = next(w for w in small.warnings if "try --gpus" in w)
    enough = int(said.split("--gpus ")[1].split()[0])
    fixed = ScheduleSection(batch_tokens=small.batch_tokens)
    for gpus, fits in ((enough, True), (enough - 1, False), (enough + 1, True), (3 * enough + 5, True)):
        again = plan("deepseek", flops=1e23, gpus=gpus, device="h100", shape=big, schedule=fixed)
        assert (again.layout is not None) == fits


@pytest.mark.parametrize("gpus", [3, 64, 1000, 8192])
@pytest.mark.parametrize("money", [50.0, 1e4, 1e7])
def test_money_is_kept_whatever_waits(gpus: int, money: float) -> None:
    made = plan("deepseek", money=money, price=2.0, gpus=gpus, device="h100")
    if made.layout is not None:
        assert made.cost.money is not None
        assert made.cost.money <= money * (1 + 1e-12)
    else:
        assert any("--gpus" in w for w in made.warnings)


def test_devices_know_their_links() -> None:
    assert all(d.link > 1e10 and (d.network is None or d.network <= d.link) for d in DEVICES.values())


@pytest.mark.parametrize(
    "asked",
    [
        {"money": 1e5, "gpus": 64}, {"money": 500.0, "gpus": 1024}, {"days": 7.0, "gpus": 8, "device": "rtx-4090"},
        {"days": 30.0, "gpus": 1024}, {"days": 1.0, "gpus": 10007}, {"days": 0.1, "gpus": 4096}, {"money": 1000.0},
        {"days": 30.0, "gpus": 1024, "shape": {"n_layer": 40}}, {"days": 0.1, "gpus": 512, "objective": "hours"},
        {"days": 365.0, "gpus": 8, "device": "rtx-4090"},
    ],
)  # fmt: skip
def test_a_budget_is_used_up_and_never_exceeded(asked: dict) -> None:
    made = plan("deepseek", **({"device": "h100", "price": 2.0} | asked))
    spent = made.cost.money if "money" in asked else made.layout.days  # type: ignore[union-attr]
    limit = asked.get("money", asked.get("days"))
    assert 0.98 * limit < spent <= limit * (1 + 1e-12)
    assert not any("not used" in w for w in made.warnings)
    assert made.flops == made.flops_per_token * made.steps * made.batch_tokens


def test_what_is_left_of_a_budget_is_said() -> None:
    """Steps of half a day: a day and a half holds three."""
    slow = {"n_layer": 40, "d_model": 5120, "n_head": 40}
    fixed = ScheduleSection(batch_tokens=4096 * 2048)
    one = plan("deepseek", days=9.0, gpus=1, device="a100-80gb", shape=slow, schedule=fixed)
    assert one.layout is None  # 13B parameters and their optimizer are not held by one
    made = plan("deepseek", days=1.0, gpus=8, device="h100", shape=slow, schedule=fixed)
    assert made.layout is not None
    step = made.layout.days / made.steps
    tight = plan("deepseek", days=3.8 * step, gpus=8, device="h100", shape=slow, schedule=fixed)
    assert tight.steps == 3
    assert any("21% of the budget is not used" in w for w in tight.warnings)


def test_time_saved_by_a_larger_batch_is_spent() -> None:
    plain, sooner = (
        plan("deepseek", days=0.05, gpus=8192, device="h100", price=2.0, objective=objective)  # type: ignore[arg-type]
        for objective in ("flops", "hours")
    )
    assert sooner.flops_asked > 1.05 * plain.flops_asked
    assert sooner.batch_tokens > 1.3 * plain.batch_tokens


def test_how_far_a_plan_lies_is_said_alike() -> None:
    made = plan("epoch", flops=1e22)
    assert made.forecast is not None
    beyond = made.forecast.extrapolation.flops
    assert any(f"{beyond:,.3g} x the largest compute" in w for w in made.warnings)
