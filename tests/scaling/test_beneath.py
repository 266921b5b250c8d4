"""Targets below the ladder, and levels beyond what was ever counted."""

from __future__ import annotations

import numpy as np
import pytest

from forescale.base.errors import InputError
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast


@pytest.fixture(scope="module")
def laws():
    rng = np.random.default_rng(0)
    rows = []
    for flops in (1e17, 3e17, 1e18, 3e18, 1e19):
        for step in np.linspace(-1.2, 1.2, 5):
            size = 0.09 * flops**0.5 * np.exp(step)
            tokens = flops / 6 / size
            loss = 1.8 + 480 / size**0.35 + 2100 / tokens**0.37
            rows.append({"params": size, "tokens": tokens, "loss": loss * np.exp(0.001 * rng.standard_normal())})
    return fit(rows)


def width(made):
    return (made.interval[1] - made.interval[0]) / made.loss


def test_a_target_below_the_ladder_is_said_and_charged(laws):
    inside, beneath, further = (forecast(laws, flops=c) for c in (3e17, 1e16, 1e15))
    assert not any("below the ladder" in text for text in inside.warnings)
    assert any("below the ladder" in text for text in beneath.warnings)
    assert width(inside) < 0.02 < 0.05 < width(beneath) < width(further)


def test_a_loss_that_no_text_has_is_refused(laws):
    with pytest.raises(InputError, match="no loss of text"):
        forecast(laws, model_scale=1e4, tokens=1e6)


def test_tails_go_on_beyond_what_was_counted(laws):
    widths = [width(forecast(laws, flops=1e21, level=level)) for level in (0.9, 0.99, 0.999, 0.9999)]
    assert widths[1] / widths[0] > 1.4
    assert widths[2] / widths[0] > 1.9
    assert widths[3] > 1.1 * widths[2]
    assert any("98%" in text for text in forecast(laws, flops=1e21, level=0.999).warnings)


def test_a_forecast_repeats_that_seeds_disagree(laws):
    rows = [
        {"params": n, "tokens": d, "seed": seed, "loss": (1.8 + 480 / n**0.35 + 2100 / d**0.37) * (1 + 0.2 * seed * (n == 2e8))}
        for n in (5e7, 1e8, 2e8) for d in (1e9, 2e9, 4e9) for seed in (0, 1)
    ]  # fmt: skip
    found = fit(rows)
    assert any("seeds disagree" in text for text in found.warnings)
    assert any("seeds disagree" in text for text in forecast(found, flops=1e20).warnings)
