"""Plans: the paper's own numbers, every dial, rounding, layout, limited data, serving, other laws."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from forescale.base.config import ModelSection, ScheduleSection
from forescale.base.errors import ConfigError
from forescale.base.records.laws import Allocation, Laws, PowerLaw, RunsSummary
from forescale.base.records.plan import Plan
from forescale.base.shape import ModelShape
from forescale.scaling import layout, published, repeat
from forescale.scaling.devices import DEVICES, device
from forescale.scaling.plan import plan
from forescale.scaling.shapes import Family, ShapeRules, nearest, size_of

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = ModelSection(seq_len=128, vocab_size=512, head_dim=16, ffn_multiple=16)

PAPER = [  # C, learning rate, batch, M, D (paper 5.1, values to test against)
    (1e17, 2.338e-3, 1.062e5, 1.40e8, 7.12e8),
    (3e17, 2.038e-3, 1.521e5, 2.50e8, 1.20e9),
    (1e18, 1.753e-3, 2.255e5, 4.70e8, 2.13e9),
    (3e18, 1.528e-3, 3.230e5, 8.35e8, 3.59e9),
    (1e19, 1.315e-3, 4.789e5, 1.57e9, 6.37e9),
    (3e19, 1.146e-3, 6.860e5, 2.79e9, 1.07e10),
    (1e20, 9.860e-4, 1.017e6, 5.25e9, 1.90e10),
    (3e20, 8.595e-4, 1.457e6, 9.34e9, 3.21e10),
    (1e21, 7.394e-4, 2.160e6, 1.76e10, 5.69e10),
]


@pytest.mark.parametrize(("flops", "rate", "batch", "m", "tokens"), PAPER)
def test_the_papers_equations(flops: float, rate: float, batch: float, m: float, tokens: float) -> None:
    made = plan("deepseek", flops=flops)
    say = made.laws_say
    assert say.learning_rate == pytest.approx(rate, rel=5e-4)
    assert say.batch_tokens == pytest.approx(batch, rel=1e-3)
    assert say.flops_per_token == pytest.approx(m, rel=5e-3)
    assert say.tokens == pytest.approx(tokens, rel=5e-3)
    assert made.learning_rate == pytest.approx(rate, rel=1e-3)
    assert made.flops == pytest.approx(flops, rel=2e-3)
    assert made.flops_per_token == pytest.approx(m, rel=0.12)


@pytest.mark.parametrize(
    ("name", "params", "m", "steps", "rate", "batch"),
    [("7b", 6.910e9, 4.25e10, 211_928, 4.2e-4, 9.22e6), ("67b", 67.425e9, 4.33e11, 105_964, 3.2e-4, 19.7e6)],
)
def test_the_papers_models(name: str, params: float, m: float, steps: int, rate: float, batch: float) -> None:
    made = plan("deepseek", recipe=RECIPES / f"deepseek-{name}.toml")
    assert made.model.params == pytest.approx(params, rel=1e-4)
    assert made.flops_per_token == pytest.approx(m, rel=1e-3)
    assert made.steps == steps
    assert made.learning_rate == rate
    assert made.warmup_steps == 2000
    assert made.laws_say.learning_rate == pytest.approx(rate, rel=0.015)
    assert made.laws_say.batch_tokens == pytest.approx(batch, rel=5e-3)
    assert made.flops == made.flops_per_token * made.steps * made.batch_tokens
    assert made.schedule.points == [(0.0, 1.0), (0.8, pytest.approx(0.316, abs=1e-3)), (0.9, 0.1)]
    assert made.forecast is None
    assert any("no loss surface" in w for w in made.warnings)


def test_table_3_shapes() -> None:
    """The paper's counting formulas: MHA, 8/3 d unrounded, one embedding matrix in N2, no norms."""
    rows = [
        (8, 512, 25.2e6, 77.6e6, 352e6, 0.43, 1.32), (12, 768, 84.9e6, 164e6, 963e6, 0.53, 1.02),
        (24, 1024, 302e6, 407e6, 3.02e9, 0.60, 0.81), (24, 2048, 1.21e9, 1.42e9, 9.66e9, 0.75, 0.88),
        (32, 4096, 6.44e9, 6.86e9, 45.1e9, 0.85, 0.91), (40, 5120, 12.6e9, 13.1e9, 85.6e9, 0.88, 0.92),
        (80, 8192, 64.4e9, 65.3e9, 419e9, 0.92, 0.94),
    ]  # fmt: skip
    for n_layer, d, n1, n2, m, ratio1, ratio2 in rows:
        shape = ModelShape(n_layer, d, d // 128, d // 128, 8 * d / 3, 102_400, 4096)
        assert shape.params_non_embedding == pytest.approx(n1, rel=5e-3)
        assert shape.flops_per_token == pytest.approx(m, rel=5e-3)
        one_matrix = shape.params_non_embedding + 102_400 * d
        assert one_matrix == pytest.approx(n2, rel=5e-3)
        # the fifth row computes to 0.857, where the paper prints 0.85
        assert 6 * n1 / m == pytest.approx(ratio1, abs=0.0075 if d == 4096 else 0.0055)
        assert 6 * one_matrix / shape.flops_per_token == pytest.approx(ratio2, abs=0.0055)


def test_rounding_holds_together() -> None:
    for flops in (3e10, 1e15, 7.7e19, 2e24):
        made = plan("deepseek", flops=flops)
        assert made.tokens == made.steps * made.batch_tokens
        assert made.batch_tokens % made.model.seq_len == 0
        assert made.flops == made.flops_per_token * made.tokens
        assert made.flops_per_token == made.model.shape.flops_per_token
        assert made.epochs == 1.0


def test_a_tiny_workspace_gets_tiny_shapes() -> None:
    for flops in (1e11, 3e11, 1e12, 3e12, 1e13):
        made = plan("deepseek", flops=flops, model=TINY)
        assert made.model.d_model % 8 == 0
        assert made.model.d_model <= 96
        assert 2 <= made.model.n_layer <= 4
        assert made.model.vocab_size == 512
        assert made.flops_per_token == pytest.approx(made.laws_say.flops_per_token, rel=0.6)
        assert made.flops == pytest.approx(flops, rel=0.01)
    tiny_steps = plan("deepseek", flops=1e12, model=TINY)
    assert tiny_steps.warmup_steps == round(0.02 * tiny_steps.steps)


def test_every_dial_meets_its_budget() -> None:
    tokens = plan("deepseek", tokens=1e11)
    assert tokens.tokens == pytest.approx(1e11, rel=1e-4)
    assert tokens.laws_say.tokens == pytest.approx(1e11, rel=1e-4)
    days = plan("deepseek", days=30, gpus=512, device="h100")
    assert days.layout is not None
    assert days.layout.busy is not None
    assert days.layout.days == pytest.approx(30, rel=0.02)
    assert days.flops == pytest.approx(days.layout.days * 86400 * 512 * 989.4e12 * 0.4 * days.layout.busy)
    money = plan("deepseek", money=1e6, price=2.0, device="h100", gpus=64)
    assert money.cost.money == pytest.approx(1e6, rel=0.01)
    assert money.cost.device_hours == pytest.approx(5e5, rel=0.01)


def test_minutes_follow_measured_speed() -> None:
    seen: list[ModelShape] = []

    def speed(shape: ModelShape) -> float:
        seen.append(shape)
        return shape.hardware_flops_per_token / 2e10

    made = plan("deepseek", minutes=5, model=TINY, seconds_per_token=speed)
    assert made.seconds == pytest.approx(300, rel=0.05)
    assert len(set(seen)) < 15
    longer = plan("deepseek", minutes=20, model=TINY, seconds_per_token=speed)
    assert longer.flops > 2 * made.flops
    with pytest.raises(ConfigError, match="speed of this machine"):
        plan("deepseek", minutes=5)


def test_what_a_user_fixes_stays() -> None:
    made = plan("deepseek", flops=1e20, shape={"n_layer": 12, "d_model": 1024})
    assert (made.model.n_layer, made.model.d_model) == (12, 1024)
    assert made.flops == pytest.approx(1e20, rel=1e-3)
    assert any("x the size" in w for w in made.warnings)
    layers = plan("deepseek", flops=1e20, shape={"n_layer": 30})
    assert layers.model.n_layer == 30
    schedule = ScheduleSection(batch_tokens=524_288, learning_rate=1e-3, warmup_steps=100)
    fixed = plan("deepseek", flops=1e20, schedule=schedule)
    assert (fixed.batch_tokens, fixed.learning_rate, fixed.warmup_steps) == (524_288, 1e-3, 100)
    both = plan("deepseek", flops=1e20, schedule=ScheduleSection(tokens=50_000_000_000))
    assert both.tokens == pytest.approx(5e10, rel=1e-4)
    assert both.flops == pytest.approx(1e20, rel=0.15)


@pytest.mark.parametrize(
    "fixed",
    [{"n_head": 12}, {"n_kv_head": 3}, {"n_kv_head": 8}, {"d_model": 3072, "n_kv_head": 6}, {"d_ffn": 9999},
     {"n_head": 24, "d_model": 3072, "n_layer": 20, "n_kv_head": 4}, {"head_dim": 64, "n_head": 40}],
)  # fmt: skip
def test_fixed_parts_of_a_shape_stay(fixed: dict[str, float]) -> None:
    model = plan("deepseek", flops=1e21, shape=fixed).model
    assert {key: getattr(model, key) for key in fixed if key != "head_dim"} == {
        key: value for key, value in fixed.items() if key != "head_dim"
    }
    assert model.d_model % model.n_head == 0
    assert model.n_head % model.n_kv_head == 0
    if "head_dim" in fixed:
        assert model.d_model // model.n_head == fixed["head_dim"]


def test_a_shape_bent_by_what_is_fixed_is_said() -> None:
    for fixed, form in (({"n_head": 7}, "deep and narrow"), ({"n_layer": 12}, "shallow and wide")):
        warnings = plan("deepseek", flops=1e22, shape=fixed).warnings
        assert any(form in w and "usual at this width" in w for w in warnings)
    usual = plan("deepseek", flops=1e22, shape={"n_layer": 40}).warnings + plan("deepseek", flops=1e22).warnings
    assert not any("width / layers" in w for w in usual)
    for name in ("7b", "67b"):
        made = plan("deepseek", recipe=RECIPES / f"deepseek-{name}.toml")
        assert not any("width / layers" in w or "usual shapes" in w for w in made.warnings)
    for fixed in ({"d_ffn": 256 * 200}, {"d_model": 2048, "d_ffn": 1024}, {"d_model": 4096, "n_head": 8}):
        assert any("laws hold for usual shapes" in w for w in plan("deepseek", flops=1e20, shape=fixed).warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing says how large"),
        ({"flops": 1e20, "tokens": 1e9}, "one dial"),
        ({"flops": -1.0}, "positive"),
        ({"flops": math.nan}, "positive"),
        ({"days": 3.0}, "--gpus and --device"),
        ({"money": 3.0}, "--price"),
        ({"flops": 1e20, "gpus": 8, "device": "h1000"}, "did you mean"),
        ({"flops": 1e20, "shape": {"n_layers": 3}}, "no `n_layers`"),
        ({"flops": 1e22, "shape": {"d_model": 2048, "n_head": 7}}, "2048 is not divisible by n_head = 7"),
        ({"flops": 1e22, "shape": {"d_model": 2048, "head_dim": 96}}, "not divisible by head_dim"),
        ({"flops": 1e22, "shape": {"n_head": 16, "n_kv_head": 3}}, "not divisible by n_kv_head"),
        ({"flops": 1e22, "shape": {"d_model": 2048, "n_head": 8, "head_dim": 128}}, "not 2048"),
        ({"flops": 1e22, "shape": {"d_model": 2048.5}}, "whole number"),
        ({"flops": 1e22, "shape": {"n_layer": 0}}, "whole number"),
        ({"flops": 1e22, "shape": {"n_layer": "many"}}, "whole number"),
        ({"flops": 1e22, "shape": {"d_model": "2K"}}, "exponent: 2048"),
        ({"flops": 1e22, "shape": {"d_model": 10**9}}, "d_model = 1000000000 is not between 8 and 256000"),
        ({"flops": 1e22, "shape": {"n_layer": 10**6}}, "n_layer = 1000000 is not between 1 and 10000"),
        ({"flops": 1e22, "shape": {"vocab_size": 10**12}}, "vocab_size = 1e+12 is not between 2 and 10000000"),
        ({"flops": 1e22, "shape": {"seq_len": 1}}, "seq_len = 1 is not between 8 and 10000000"),
        ({"flops": 1e22, "shape": {"d_ffn": 1}}, "d_ffn = 1 is not between 8 and 1024000"),
        ({"flops": 1e22, "shape": {"d_model": 4096, "d_ffn": 8}}, "permitted here: 256 to 524288"),
        ({"flops": 1e22, "shape": {"d_model": 4096, "n_head": 1}}, "head_dim = 4096"),
        ({"flops": 1e22, "shape": {"d_model": 8}}, "no shape with d_model = 8 has 5.87e+10 FLOPs a token"),
        ({"flops": 1e18, "shape": {"n_head": 64}}, "1.05e+10 (2 x 8192) to"),
        ({"flops": 1e22, "shape": {"n_layer": 3, "n_head": 4}}, "1.37e+08 (3 x 512) to 1.37e+08 (3 x 512)"),
        ({"flops": 1e22, "model": ModelSection(d_model=2048, n_head=7)}, "not divisible by n_head"),
        ({"flops": 1e20, "utilisation": 1.5}, "share of the peak"),
        ({"flops": 1e20, "unique_tokens": -1.0}, "unique-tokens"),
        ({"flops": 1e20, "schedule": ScheduleSection(batch_tokens=5000)}, "multiple of seq_len"),
        (
            {"flops": 1e20, "shape": {"n_layer": 2, "d_model": 512}, "schedule": ScheduleSection(tokens=10**9)},
            "fixed at",
        ),
    ],
)
def test_contradictions_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan("deepseek", **options)
    assert message in str(caught.value)


def test_unknown_laws_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no published laws") as caught:
        plan("deepseak", flops=1e20)
    assert "deepseek" in str(caught.value)


def own_laws(**changes: float) -> Laws:
    numbers = {"a": 0.5, "k": 0.3, "lr": 0.5, "lr_slope": -0.15, "b": 0.1, "b_slope": 0.35} | changes
    return Laws(
        scale="M", source="mine",
        allocation=Allocation(
            model_exponent=numbers["a"], data_exponent=1 - numbers["a"], model_coefficient=numbers["k"],
            data_coefficient=1 / numbers["k"],
        ),
        learning_rate=PowerLaw(coefficient=numbers["lr"], exponents={"flops": numbers["lr_slope"]}),
        batch=PowerLaw(coefficient=numbers["b"], exponents={"flops": numbers["b_slope"]}),
    )  # fmt: skip


def test_other_laws_move_the_plan_as_computed() -> None:
    flops = 1e20
    made, other = plan(own_laws(), flops=flops), plan(own_laws(k=0.15, lr=0.25, b=0.2), flops=flops)
    assert made.laws_say.flops_per_token == pytest.approx(0.3 * flops**0.5)
    assert made.laws_say.learning_rate == pytest.approx(0.5 * flops**-0.15)
    assert made.laws_say.batch_tokens == pytest.approx(0.1 * flops**0.35)
    assert made.flops_per_token / other.flops_per_token == pytest.approx(2.0, rel=0.15)
    assert other.tokens / made.tokens == pytest.approx(2.0, rel=0.15)
    assert made.learning_rate / other.learning_rate == pytest.approx(2.0, rel=1e-3)
    assert other.batch_tokens / made.batch_tokens == pytest.approx(2.0, rel=0.01)
    assert not any("taken from `deepseek`" in w for w in made.warnings)


def test_gaps_are_filled_from_deepseek_and_named() -> None:
    made = plan("steplaw", flops=1e20)
    assert any("allocation" in w and "deepseek" in w for w in made.warnings)
    assert not any("learning-rate law" in w and "taken" in w for w in made.warnings)
    assert made.laws_say.flops_per_token == pytest.approx(0.1715 * 1e20**0.5243)
    only_split = own_laws().model_copy(update={"batch": None, "learning_rate": None})
    made = plan(only_split, flops=1e20)
    assert made.laws_say.learning_rate == pytest.approx(9.86e-4, rel=1e-3)
    assert sum("taken from `deepseek`" in w for w in made.warnings) == 2


def test_a_rate_law_uses_the_batch_that_is_used() -> None:
    law = PowerLaw(coefficient=1e-5, exponents={"batch_tokens": 0.3})
    laws = own_laws().model_copy(update={"learning_rate": law})
    made = plan(laws, flops=1e20, schedule=ScheduleSection(batch_tokens=4096 * 100))
    assert made.learning_rate == pytest.approx(1e-5 * (4096 * 100) ** 0.3, rel=1e-3)


def test_a_longer_reach_of_weight_decay_is_said() -> None:
    law = PowerLaw(coefficient=0.5, exponents={"flops": -0.15}, conditional_on={"decay_timescale": 0.3})
    laws = own_laws().model_copy(update={"learning_rate": law})
    assert any("weight decay" in w for w in plan(laws, flops=1e21, conditions={"weight_decay": 0.1}).warnings)
    assert not any("weight decay" in w for w in plan(laws, flops=1e21, conditions={"weight_decay": 0.001}).warnings)


def test_chinchilla_gives_chinchilla() -> None:
    allocation = published.laws("chinchilla").allocation
    assert allocation is not None
    params, tokens = allocation.split(5.76e23)
    assert params == pytest.approx(67e9, rel=0.1)
    assert tokens == pytest.approx(1.5e12, rel=0.1)


@pytest.mark.parametrize("name", sorted(published.PUBLISHED))
def test_published_laws_are_consistent(name: str) -> None:
    laws = published.laws(name)
    assert laws.source
    assert any("no interval" in w for w in laws.warnings)
    if laws.allocation is not None:
        size, tokens = laws.allocation.split(1e21)
        assert laws.flops_factor * size * tokens == pytest.approx(1e21, rel=0.02)


def test_the_split_of_a_surface_is_its_minimum() -> None:
    for name in ("epoch", "kaplan"):
        surface = published.laws(name).surface
        assert surface is not None
        size, tokens = published.split_of(surface, 6.0).split(1e21)
        best = surface.loss(size, tokens)
        for factor in (0.8, 0.95, 1.05, 1.25):
            assert surface.loss(size * factor, tokens / factor) > best


def test_limited_data_and_serving_move_the_split() -> None:
    free = plan("deepseek", flops=1e21)
    scarce = plan("deepseek", flops=1e21, unique_tokens=free.tokens / 20)
    assert scarce.epochs == pytest.approx(scarce.tokens / (free.tokens / 20))
    # size beyond what the unique tokens want wears out sooner than repeated tokens do (Muennighoff et al. 2023)
    assert scarce.tokens > free.tokens
    assert any("epochs" in w for w in scarce.warnings)
    plenty = plan("deepseek", flops=1e21, unique_tokens=10 * free.tokens)
    assert (plenty.epochs, plenty.tokens) == (1.0, free.tokens)
    served = plan("deepseek", flops=1e21, serve_tokens=30 * free.tokens)
    assert served.flops_per_token < 0.8 * free.flops_per_token
    assert served.tokens > 1.25 * free.tokens
    assert served.flops == pytest.approx(1e21, rel=0.01)


def test_a_served_split_is_the_cheapest_of_its_loss() -> None:
    around, serve = repeat.Around(1e10, 1e11, 0.34, 0.37), 1e12
    m, tokens = repeat.split_served(around, serve)
    loss, price = around.loss(m, tokens), m * (tokens + serve / 3)
    for factor in (0.9, 1.1):
        other = m * factor
        share = around.beta / (around.alpha + around.beta)
        rest = (loss - share * (other / around.m) ** -around.alpha) / (1 - share)
        same_loss_tokens = around.tokens * rest ** (-1 / around.beta)
        assert around.loss(other, same_loss_tokens) == pytest.approx(loss)
        assert other * (same_loss_tokens + serve / 3) > price


def test_a_served_shape_is_undercut_by_none_beside_it() -> None:
    laws, serve = published.laws("epoch"), 1e12
    made = plan(laws, flops=1e21, serve_tokens=serve)
    assert laws.surface is not None
    loss, price = laws.surface.loss(made.model.params, made.tokens), made.flops_per_token * (made.tokens + serve / 3)
    reducible = laws.surface.B / (loss - laws.surface.E - laws.surface.A * made.model.params**-laws.surface.alpha)
    assert reducible ** (1 / laws.surface.beta) == pytest.approx(made.tokens)
    for k in range(-12, 13):
        other = nearest(made.flops_per_token * math.exp(0.02 * k), ShapeRules())
        left = loss - laws.surface.E - laws.surface.A * other.params**-laws.surface.alpha
        if left > 0:
            tokens = (laws.surface.B / left) ** (1 / laws.surface.beta)
            assert other.flops_per_token * (tokens + serve / 3) > 0.995 * price
    assert any("shapes with an M from" in w for w in made.warnings)


@pytest.mark.parametrize("fixed", [{"n_layer": 2}, {"n_layer": 3}, {"n_layer": 200}, {"d_model": 1024}, {"n_head": 4}])
def test_one_fixed_part_does_not_move_the_size(fixed: dict) -> None:
    made = plan("deepseek", flops=1e22, shape=fixed)
    assert made.flops_per_token == pytest.approx(made.laws_say.flops_per_token, rel=0.04)
    assert all(getattr(made.model, key) == value for key, value in fixed.items())


def test_layouts_fit_and_explain() -> None:
    shape = plan("deepseek", recipe=RECIPES / "deepseek-67b.toml").model.shape
    chosen, reasons = layout.choose(shape, 18_874_368, 8.65e23, 1024, device("h800"), 0.4)
    assert chosen is not None
    assert reasons == []
    assert chosen.data * chosen.tensor * chosen.pipeline == 1024
    assert chosen.memory_gib_per_device <= 0.9 * 80
    assert 18_874_368 / 4096 % (chosen.data * chosen.micro_batch) == 0
    # the later report on the 67B: 300.6K H800-hours a trillion tokens, whatever its layout lost among them
    assert chosen.busy is not None
    assert chosen.days * 24 * 1024 / 2 * chosen.busy == pytest.approx(300.6e3, rel=0.05)
    assert chosen.days * 24 * 1024 / 2 == pytest.approx(300.6e3, rel=0.1)
    none, reasons = layout.choose(shape, 18_874_368, 8.65e23, 2, device("h800"), 0.4)
    assert none is None
    assert "GiB in all" in reasons[0]


def test_a_planned_batch_can_be_dealt_to_the_devices() -> None:
    for gpus in (8, 64, 96, 512):
        made = plan("deepseek", flops=1e22, gpus=gpus, device="h100")
        assert made.layout is not None, made.warnings
        assert made.layout.data * made.layout.tensor * made.layout.pipeline == gpus
        assert made.batch_tokens == pytest.approx(made.laws_say.batch_tokens, rel=0.13)
    odd = plan("deepseek", flops=1e21, gpus=61, device="h100", schedule=ScheduleSection(batch_tokens=4096 * 527))
    assert odd.layout is not None
    assert odd.batch_tokens == 4096 * 527
    assert 527 % (odd.layout.data * odd.layout.micro_batch) == 0


def test_processes_share_a_batch_without_asking_for_devices() -> None:
    """The demo's own plan: a batch for two processes, and no warning about options that nobody gave."""
    devices, processes = (plan("deepseek", flops=1e15, **{key: 96}) for key in ("gpus", "ranks"))
    assert processes.batch_tokens == devices.batch_tokens
    assert any("--gpus without --device" in text for text in devices.warnings)
    assert not any("--gpus" in text for text in processes.warnings)
    assert processes.gpus is None


def test_devices_have_sources() -> None:
    assert all(d.source and d.peak_flops > 1e13 and d.memory_gib > 8 for d in DEVICES.values())
    assert device("NVIDIA H100") == device("h100-sxm")


def test_pareto_trades_tokens_for_time() -> None:
    made = plan("deepseek", flops=1e21, gpus=64, device="h100", price=2.0, objective="hours")
    assert made.pareto is not None
    batches = [p.batch_tokens for p in made.pareto]
    assert batches == sorted(batches)
    needs = [p.tokens for p in made.pareto]
    assert needs == sorted(needs)
    fastest = min(made.pareto, key=lambda p: p.hours or math.inf)
    assert made.batch_tokens == fastest.batch_tokens
    plain = plan("deepseek", flops=1e21)
    assert plain.pareto is None
    unknown = plan("deepseek", flops=1e21, objective="hours")
    assert unknown.pareto is not None
    assert any("need --gpus" in w for w in unknown.warnings)


def test_ladder_share_and_checkpoint() -> None:
    made = plan("deepseek", flops=1e20, ladder_flops=1e19)
    assert made.cost.ladder_share == pytest.approx(1e19 / (made.flops + 1e19))
    laws = published.laws("epoch").model_copy(update={"runs": RunsSummary(used=9, flops=1e19)})
    outside = plan(laws, flops=1e20)  # as those laws count: 6 x N2 x D
    own = 6 * outside.model.params * outside.tokens
    assert outside.cost.ladder_share == pytest.approx(1e19 / (1e19 + own))
    assert made.checkpoint_gib == pytest.approx(12 * made.model.params / 2**30, rel=1e-6)


def test_a_far_target_is_said_loudly() -> None:
    assert any("FAR BEYOND" in w for w in plan("deepseek", flops=1e24).warnings)
    assert not any("BEYOND" in w.upper() for w in plan("deepseek", flops=1e19).warnings)


def test_shapes_are_near_and_well_proportioned() -> None:
    rules = ShapeRules()
    for exponent in range(17, 25):
        size = 0.1715 * (10.0**exponent) ** 0.5243
        shape = nearest(size, rules)
        assert size_of(shape, "M") == pytest.approx(size, rel=0.12)
        assert shape.d_model % 128 == 0
        assert 20 < shape.d_model / shape.n_layer < 190
    n2 = nearest(7e9, rules, scale="N2")
    assert n2.params == pytest.approx(7e9, rel=0.05)
    family = Family(rules)
    assert family.convert(family.convert(1e10, "M", "N2"), "N2", "M") == pytest.approx(1e10, rel=1e-6)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    made = plan("deepseek", flops=1e20, gpus=64, device="a100")
    made.write(tmp_path / "plan.json")
    again = Plan.read(tmp_path / "plan.json")
    assert again == made
    assert again.digest == made.digest
    keys = list(made.to_json())
    assert keys[:20] == [
        "flops_asked", "flops", "flops_per_token", "tokens", "epochs", "model", "batch_tokens", "learning_rate",
        "warmup_steps", "steps", "schedule", "forecast", "layout", "checkpoint_gib", "cost", "laws", "laws_say", "pareto",
        "warnings", "device",
    ]  # fmt: skip
