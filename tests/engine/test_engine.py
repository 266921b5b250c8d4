"""The cache changes nothing: generation and scores equal a full recompute, alone or in any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from forescale.base.errors import InputError
from forescale.engine.engine import Engine
from forescale.model.threads import few_threads


@pytest.fixture(scope="module")
def engine(base_weights: Path) -> Engine:
    engine = Engine(base_weights)
    with torch.no_grad():  # an untrained model says one id for ever: spread its choices
        for parameter in engine.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
    return engine


def prompts(engine: Engine, n: int = 12) -> list[list[int]]:
    rng = np.random.default_rng(0)
    size = engine.model.shape.vocab_size
    return [rng.integers(3, size, size=int(rng.integers(1, 60))).tolist() for _ in range(n)]


def recompute(engine: Engine, prompt: list[int], n: int, stops: set[int]) -> tuple[list[int], bool]:
    """Greedy generation with the whole sequence through the model at every step."""
    ids: list[int] = []
    with torch.inference_mode(), few_threads(0):
        while len(ids) < n and len(prompt) + len(ids) < engine.limit:
            hidden = engine.model(torch.tensor([prompt + ids]))
            token = int(engine.model.logits(hidden[0, -1]).argmax())
            if token in stops:
                return ids, True
            ids.append(token)
    return ids, False


def test_cached_greedy_equals_full_recompute(engine: Engine) -> None:
    asked = prompts(engine)
    stops = {7, 11, 40, 90}
    for prompt, got in zip(asked, engine.generate(asked, max_new=30, stop_ids=list(stops)), strict=True):
        assert tuple(got) == recompute(engine, prompt, 30, stops)


def test_a_row_does_not_depend_on_its_batch(engine: Engine) -> None:
    asked = prompts(engine)
    options = {"max_new": 20, "temperature": 1.0, "top_p": 0.95, "seed": 3, "stop_ids": [5, 6, 9]}
    together = engine.generate(asked, **options)
    assert together == [engine.generate([prompt], **options)[0] for prompt in asked]
    assert together == engine.generate(asked[::-1], batch=5, **options)[::-1]
    assert together[0].ids == list(engine.stream(asked[0], **options))
    assert together != engine.generate(asked, **(options | {"seed": 4}))


def test_equal_prompts_get_different_samples(engine: Engine) -> None:
    prompt = prompts(engine)[0]
    found = engine.generate([prompt] * 4, max_new=12, temperature=1.0, seed=0)
    assert len({tuple(c.ids) for c in found}) == 4


def test_room_ends_at_the_models_positions(engine: Engine) -> None:
    prompt = [3] * (engine.limit - 4)
    (got,) = engine.generate([prompt], max_new=100, stop_ids=[])
    assert len(got.ids) == 4
    assert not got.finished
    assert engine.generate([[3, 4]], max_new=0) == [([], False)]
    for bad in ([3] * engine.limit, []):
        with pytest.raises(InputError):
            engine.generate([bad], max_new=1)


def test_scores_equal_a_full_pass(engine: Engine) -> None:
    asked = [p for p in prompts(engine) if len(p) > 3]
    masks = [[i >= len(p) // 2 for i in range(len(p))] for p in asked]
    for prompt, mask, nats, score in zip(
        asked, masks, engine.token_nats(asked), engine.score(asked, masks), strict=True
    ):
        with torch.inference_mode():
            logits = engine.model.logits(engine.model(torch.tensor([prompt])))[0, :-1]
        wanted = torch.log_softmax(logits.double(), -1)[torch.arange(len(prompt) - 1), prompt[1:]]
        assert np.allclose(-nats, wanted, atol=1e-4)
        assert score == pytest.approx(float(wanted[torch.tensor(mask[1:])].sum()), abs=1e-3)
