"""Sampling: the distribution asked for, the nucleus, seeds of rows."""

from __future__ import annotations

import torch

from forescale.engine.sampling import choose, row_seeds, uniforms

P = torch.tensor([0.05, 0.5, 0.15, 0.3])


def draw(temperature: float, top_p: float, n: int = 20_000) -> torch.Tensor:
    u = torch.from_numpy(uniforms(1, n))
    ids = choose(P.log().expand(n, -1), u, temperature=temperature, top_p=top_p)
    return torch.bincount(ids, minlength=4) / n


def test_temperature_one_draws_the_distribution() -> None:
    assert torch.allclose(draw(1.0, 1.0), P, atol=0.012)


def test_temperature_sharpens() -> None:
    sharp = P**2 / (P**2).sum()
    assert torch.allclose(draw(0.5, 1.0), sharp, atol=0.012)


def test_nucleus_keeps_the_smallest_set_that_reaches_p() -> None:
    got = draw(1.0, 0.75)
    assert got[0] == got[2] == 0
    assert torch.allclose(got[1], torch.tensor(0.625), atol=0.012)
    assert draw(1.0, 1e-9)[1] == 1  # never empty


def test_greedy_and_the_ends_of_the_unit_interval() -> None:
    logits = P.log()[None]
    assert choose(logits, torch.tensor([0.9]), temperature=0.0, top_p=1.0).item() == 1
    for u in (0.0, 1 - 2**-53):
        assert choose(logits, torch.tensor([u], dtype=torch.float64), temperature=1.0, top_p=0.9).item() in (1, 2, 3)
    one_hot = torch.full((1, 4), -torch.inf)
    one_hot[0, 2] = 0.0
    last = torch.tensor([1 - 2**-53], dtype=torch.float64)
    assert choose(one_hot, last, temperature=1.0, top_p=1.0).item() == 2


def test_row_seeds_follow_the_prompt_not_its_place() -> None:
    a, b = [1, 2], [3]
    assert row_seeds([a, b], 0) == row_seeds([b, a], 0)[::-1]
    assert len(set(row_seeds([a, a, a], 0))) == 3
    assert row_seeds([a], 0) != row_seeds([a], 1)
