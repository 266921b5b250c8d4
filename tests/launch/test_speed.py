from __future__ import annotations

import pytest
from tiny_runs import spec

from forescale.base.shape import ModelShape
from forescale.launch.speed import Meter, ranks_seconds_per_token
from forescale.train.speed import SpeedCase


def test_larger_shapes_cost_more_and_seconds_are_real(tmp_path):
    small = spec(tmp_path).shape
    large = ModelShape(n_layer=4, d_model=128, n_head=4, n_kv_head=4, d_ffn=352, vocab_size=512, seq_len=32)
    with Meter(2) as meter:
        cheap, dear = (meter.seconds_per_token(shape, 512, seconds=0.2) for shape in (small, large))
    assert 1e-7 < cheap < dear < 1e-2


def test_ranks_count_the_tokens_of_all(tmp_path):
    seconds = ranks_seconds_per_token(SpeedCase(spec(tmp_path).shape, 512, seconds=0.2), 2)
    assert seconds == pytest.approx(1e-4, rel=50)
    assert seconds > 1e-7
