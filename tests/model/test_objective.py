import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from forescale.base.shape import ModelShape
from forescale.model import objective
from forescale.model.objective import Batch, next_token_nats, sequence_logprobs, token_nats
from forescale.model.transformer import Transformer, initialise

SHAPE = ModelShape(n_layer=1, d_model=16, n_head=2, n_kv_head=2, d_ffn=24, vocab_size=37, seq_len=20)


@pytest.fixture
def model() -> Transformer:
    model = Transformer(SHAPE)
    initialise(model, 0, init_std=0.3)
    return model


def make(mask: bool) -> Batch:
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(0, 37, (5, 21), generator=generator)
    counted = torch.rand(5, 20, generator=generator) < 0.4 if mask else None
    return Batch(ids[:, :-1], ids[:, 1:], counted)


def whole(model: Transformer, batch: Batch) -> Tensor:
    logits = model.logits(model(batch.ids))
    nats = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none").view_as(batch.targets)
    return nats if batch.mask is None else nats * batch.mask


def gradients(model: Transformer, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("rows", [7, 256])
def test_chunked_sum_equals_plain_cross_entropy(
    model: Transformer, mask: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "CHUNK_ROWS", rows)
    batch = make(mask)
    ours, plain = next_token_nats(model, batch), whole(model, batch).sum()
    torch.testing.assert_close(ours, plain)
    for a, b in zip(gradients(model, ours / 3), gradients(model, plain / 3), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", [False, True])
def test_sequence_logprobs_sum_by_row_with_their_own_gradients(
    model: Transformer, mask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "CHUNK_ROWS", 7)
    batch, weights = make(mask), torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    ours, plain = sequence_logprobs(model, batch), -whole(model, batch).sum(1)
    assert ours.shape == (5,)
    torch.testing.assert_close(ours, plain)
    for a, b in zip(gradients(model, ours @ weights), gradients(model, plain @ weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_counted_and_sums_are_additive_over_rows(model: Transformer) -> None:
    batch = make(True)
    assert batch.mask is not None
    assert batch.n_counted == int(batch.mask.sum())
    parts = [Batch(batch.ids[i : i + 1], batch.targets[i : i + 1], batch.mask[i : i + 1]) for i in range(5)]
    total = sum(float(next_token_nats(model, part).detach()) for part in parts)
    assert total == pytest.approx(float(next_token_nats(model, batch).detach()), rel=1e-5)
    assert sum(part.n_counted for part in parts) == batch.n_counted
    assert make(False).n_counted == 100


def test_improbable_targets_stay_finite(model: Transformer) -> None:
    model.head.weight.data *= 1e4
    batch = make(False)
    nats = token_nats(model, batch)
    assert torch.isfinite(nats).all()
    torch.testing.assert_close(next_token_nats(model, batch), nats.sum(), rtol=1e-5, atol=0)
    assert float(nats.detach().max()) > 88  # beyond what exp() can hold in single precision


def test_no_gradient_no_work(model: Transformer) -> None:
    with torch.no_grad():
        loss = next_token_nats(model, make(False))
    assert not loss.requires_grad


@pytest.mark.parametrize("halved", [False, True])
def test_half_precision_keeps_the_sum_in_single(model: Transformer, halved: bool) -> None:
    batch = make(True)
    exact = whole(model, batch).sum()
    expected = gradients(model, exact)
    model = model.to(torch.bfloat16) if halved else model
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not halved):
        ours, by_row = next_token_nats(model, batch), sequence_logprobs(model, batch)
    assert ours.dtype == by_row.dtype == torch.float32
    torch.testing.assert_close(ours, exact, rtol=0.02, atol=0)
    torch.testing.assert_close(-by_row.sum(), exact, rtol=0.02, atol=0)
    for loss in (ours, -by_row.sum()):
        for a, b in zip(gradients(model, loss), expected, strict=True):
            assert (a.float() - b).norm() < 0.06 * b.norm()
