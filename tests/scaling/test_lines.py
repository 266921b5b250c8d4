"""Tables whose runs lie on one line: their laws forecast along it, and refuse off it with the runs that would mend it."""

from __future__ import annotations

import numpy as np
import pytest

from forescale.base.errors import InputError
from forescale.base.records.laws import Laws
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast, optimum
from forescale.scaling.plan import plan
from forescale.scaling.suggest import suggest

SIZES = [3e7, 6e7, 1.2e8, 2.4e8, 4.8e8, 9.6e8]
TOKENS = [5e8, 1e9, 2e9, 4e9, 8e9, 1.6e10]


def loss(size: float, tokens: float) -> float:
    return float(1.69 + 406.4 / size**0.34 + 410.7 / tokens**0.285)


def table(points: list[tuple[float, float]]) -> Laws:
    noise = np.random.default_rng(3).standard_normal(len(points))
    return fit([
        {"params": n, "tokens": d, "loss": loss(n, d) * (1 + 0.003 * z)} for (n, d), z in zip(points, noise, strict=True)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def laws() -> dict[str, Laws]:
    return {
        "tokens": table([(n, 2e9) for n in SIZES]),
        "size": table([(1e8, d) for d in TOKENS]),
        "tied": table([(n, 20 * n) for n in SIZES]),
        "long": table([(n, 300 * n) for n in SIZES]),
        "whole": table([(n, r * n) for n in SIZES[:5] for r in (5, 20, 80)]),
    }


@pytest.mark.parametrize(
    ("kind", "off", "missing", "runs"),
    [
        ("tokens", {"model_scale": 5e9, "tokens": 3e10}, "2e+09 tokens", "other token counts"),
        ("tokens", {"flops": 1e21}, "2e+09 tokens", "other token counts"),
        ("size", {"model_scale": 5e9, "tokens": 3e10}, "one size", "other sizes"),
        ("size", {"flops": 1e21}, "one size", "other sizes"),
        ("tied", {"model_scale": 1e9, "tokens": 2e11}, "tied to size", "off that line"),
    ],
)
def test_off_its_line_a_law_refuses(laws: dict[str, Laws], kind: str, off: dict, missing: str, runs: str) -> None:
    with pytest.raises(InputError) as error:
        forecast(laws[kind], **off)
    assert missing in error.value.why
    assert runs in error.value.remedy


@pytest.mark.parametrize(("kind", "size", "tokens"), [("tokens", 2e9, 2e9), ("size", 1e8, 6e10), ("tied", 4e9, 8e10)])
def test_along_its_line_a_law_forecasts(laws: dict[str, Laws], kind: str, size: float, tokens: float) -> None:
    made = forecast(laws[kind], model_scale=size, tokens=tokens)
    assert made.interval is not None
    assert made.interval[0] < loss(size, tokens) < made.interval[1]


def test_compute_alone_goes_along_a_tie(laws: dict[str, Laws]) -> None:
    made = forecast(laws["tied"], flops=1e21)
    assert made.tokens == pytest.approx(20 * made.model_scale, rel=0.05)
    assert 6 * made.model_scale * made.tokens == pytest.approx(1e21)
    squared = table([(n, 1e9 * (n / 3e7) ** 2) for n in SIZES])
    size, tokens = optimum(squared, 1e21)
    assert tokens == pytest.approx(1e9 * (size / 3e7) ** 2, rel=0.05)


@pytest.mark.parametrize("kind", ["tokens", "size", "long"])
def test_a_plan_off_the_line_has_no_forecast(laws: dict[str, Laws], kind: str) -> None:
    made = plan(laws[kind], flops=1e22)
    assert made.forecast is None
    assert any(w.startswith("no forecast: these laws cannot tell") for w in made.warnings)


def test_the_next_runs_may_lie_anywhere(laws: dict[str, Laws]) -> None:
    assert suggest(laws["tied"], 1e20).runs


def test_a_whole_table_has_no_line(laws: dict[str, Laws]) -> None:
    assert laws["whole"].line is None
    assert forecast(laws["whole"], flops=1e20).interval is not None
