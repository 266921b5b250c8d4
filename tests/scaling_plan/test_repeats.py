"""Limited unique tokens: repeats are worth less than new tokens, and never make a run better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forescale.base.records.laws import Laws
from forescale.scaling import published, repeat
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.plan import plan
from forescale.scaling.synthetic import make_ladder

MAGNITUDE = st.floats(6.0, 13.0).map(lambda x: 10.0**x)


@pytest.fixture(scope="module")
def laws() -> Laws:
    return fit(make_ladder("well-specified", 1).rows)


@given(size=MAGNITUDE, tokens=MAGNITUDE, unique=MAGNITUDE, once=st.none() | MAGNITUDE)
def test_repeats_are_never_worth_more(size: float, tokens: float, unique: float, once: float | None) -> None:
    worn, worth = repeat.effective(size, tokens, unique, once)
    assert worn <= size * (1 + 1e-9)
    assert worth <= tokens * (1 + 1e-9)
    assert worth <= max(tokens if tokens <= unique else 0.0, (1 + repeat.R_DATA) * unique * (1 + 1e-9))
    fewer = repeat.effective(size, tokens, unique / 2, None if once is None else once / 2)
    assert fewer[0] <= worn * (1 + 1e-9)
    assert fewer[1] <= worth * (1 + 1e-9)


def test_the_first_repeat_changes_nothing_at_once() -> None:
    size, tokens = repeat.effective(1e10, 1.000001e9, 1e9, 1e7)
    assert (size, tokens) == (pytest.approx(1e10, rel=1e-4), pytest.approx(1e9, rel=1e-4))


def test_a_repeated_split_loses_least() -> None:
    around, unique, once = repeat.Around(1e10, 1e11, 0.34, 0.37), 2e10, 2.5e9
    choices = [(1e10 * 0.95**k, 1e11 / 0.95**k) for k in range(80)]
    size, tokens = choices[repeat.split_repeated(choices, unique, lambda u: once * u / unique, around.loss)]

    def loss(m: float) -> float:
        return around.loss(*repeat.effective(m, around.flops / m, unique, once))

    assert size * tokens == pytest.approx(around.flops)
    assert all(loss(size * factor) >= loss(size) for factor in (0.5, 0.9, 1.1, 1.5))
    assert repeat.worth(4 * unique, unique) > 3.5 * unique
    assert repeat.worth(1000 * unique, unique) < 17 * unique


@pytest.mark.parametrize("name", ["epoch", "chinchilla", "deepseek"])
@pytest.mark.parametrize("flops", [1e20, 1e23])
def test_fewer_unique_tokens_never_help_a_plan(name: str, flops: float) -> None:
    """Down a thousand-fold: the size goes down or levels, the loss goes up; `chinchilla` contradicts its own split."""
    free = plan(name, flops=flops)
    made = [plan(name, flops=flops, unique_tokens=free.tokens * u) for u in np.geomspace(1.1, 1e-3, 12)]
    sizes = [p.flops_per_token for p in made]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == free.flops_per_token
    assert sizes[-1] > 0.1 * sizes[0]
    if free.forecast is not None:
        losses = [p.forecast.loss for p in made if p.forecast is not None]
        assert losses == sorted(losses)
        assert losses[0] == free.forecast.loss


@settings(max_examples=25, deadline=None)
@given(size=st.floats(8.5, 11.0), ratio=st.floats(0.5, 3.0), halvings=st.floats(0.1, 5.0))
def test_a_forecast_knows_that_repeats_only_hurt(laws: Laws, size: float, ratio: float, halvings: float) -> None:
    scale, tokens = 10.0**size, 10.0 ** (size + ratio - 1.0)
    plenty = forecast(laws, model_scale=scale, tokens=tokens, conditions={"unique_tokens": 2 * tokens})
    few, fewer = (
        forecast(laws, model_scale=scale, tokens=tokens, conditions={"unique_tokens": tokens / 2.0**h})
        for h in (halvings, halvings + 1)
    )
    assert plenty.loss == forecast(laws, model_scale=scale, tokens=tokens).loss
    assert plenty.loss <= few.loss <= fewer.loss
    for low, high in ((plenty, few), (few, fewer)):
        assert low.interval is not None
        assert high.interval is not None
        assert low.interval[0] <= high.interval[0] * (1 + 1e-9)
        assert low.interval[1] <= high.interval[1] * (1 + 1e-9)
    assert few.interval is not None
    assert few.interval[0] < few.loss < few.interval[1]


def test_repeats_cost_what_their_law_says() -> None:
    """800 epochs over 1e9 tokens: worth 1.6e10 new ones, and most of the size is wasted too."""
    epoch = published.laws("epoch")
    made = forecast(epoch, model_scale=2e10, tokens=8e11, conditions={"unique_tokens": 1e9})
    surface = epoch.surface
    assert surface is not None
    assert made.loss > surface.loss(2e10, (1 + repeat.R_DATA) * 1e9) > forecast(epoch, flops=1e23).loss
    assert math.isclose(made.tokens, 8e11)
    assert any("new ones" in w for w in made.warnings)
