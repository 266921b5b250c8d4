import math

import pytest
import torch
from torch import Tensor, nn

from forescale.base.errors import InputError
from forescale.base.shape import ModelShape
from forescale.model import fused
from forescale.model.transformer import KVCache, Transformer, initialise, rope_table, rotate

SHAPE = ModelShape(n_layer=2, d_model=32, n_head=4, n_kv_head=2, d_ffn=48, vocab_size=61, seq_len=24)


def build(shape: ModelShape = SHAPE, seed: int = 0, std: float = 0.2) -> Transformer:
    model = Transformer(shape)
    initialise(model, seed, init_std=std)
    generator = torch.Generator().manual_seed(9)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data = 0.5 + torch.rand(parameter.shape, generator=generator)
    return model


def ids_of(shape: ModelShape, batch: int, length: int, seed: int = 1) -> Tensor:
    return torch.randint(0, shape.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


def reference(model: Transformer, ids_BT: Tensor) -> Tensor:
    """The architecture written out with loops over heads and softmax attention, in double precision."""
    shape, w = model.shape, {name: p.detach().double() for name, p in model.named_parameters()}
    n = ids_BT.shape[1]
    half = shape.head_dim // 2

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * gain

    def turn(x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        for t in range(n):
            for e in range(half):
                angle = t * 10_000.0 ** (-2 * e / shape.head_dim)
                a, b = x[:, t, e], x[:, t, e + half]
                out[:, t, e] = a * math.cos(angle) - b * math.sin(angle)
                out[:, t, e + half] = b * math.cos(angle) + a * math.sin(angle)
        return out

    x = w["embedding.weight"][ids_BT]
    for layer in range(shape.n_layer):
        p = f"blocks.{layer}."
        h = norm(x, w[p + "attention_norm.weight"])
        q, k, v = (h @ w[f"{p}attention.{name}.weight"].T for name in "qkv")
        heads = []
        for head in range(shape.n_head):
            group = head // (shape.n_head // shape.n_kv_head)
            a, b = slice(head * shape.head_dim, (head + 1) * shape.head_dim), group * shape.head_dim
            scores = turn(q[..., a]) @ turn(k[..., b : b + shape.head_dim]).transpose(1, 2) / shape.head_dim**0.5
            scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf)
            heads.append(scores.softmax(-1) @ v[..., b : b + shape.head_dim])
        x = x + torch.cat(heads, -1) @ w[p + "attention.out.weight"].T
        h = norm(x, w[p + "ffn_norm.weight"])
        gate = h @ w[p + "ffn.gate.weight"].T
        x = x + (gate * gate.sigmoid() * (h @ w[p + "ffn.up.weight"].T)) @ w[p + "ffn.down.weight"].T
    return norm(x, w["norm.weight"])


@pytest.mark.parametrize("n_kv_head", [4, 2, 1])
def test_forward_is_the_architecture_written_out(n_kv_head: int) -> None:
    shape = ModelShape(2, 32, 4, n_kv_head, 48, 61, 24)
    model, ids = build(shape), ids_of(shape, 2, 17)
    torch.testing.assert_close(model(ids), reference(model, ids).float(), rtol=1e-4, atol=1e-5)


def test_head_width_may_differ_from_the_models_share() -> None:
    shape = ModelShape(1, 32, 4, 2, 48, 61, 24, head_dim=16)
    model, ids = build(shape), ids_of(shape, 2, 9)
    torch.testing.assert_close(model(ids), reference(model, ids).float(), rtol=1e-4, atol=1e-5)


class Disguised(nn.Parameter):
    """A parameter of another type, as a sharded one is: the plain path is taken."""


def plain_twin(model: Transformer) -> Transformer:
    twin = Transformer(model.shape)
    twin.load_state_dict(model.state_dict())
    for block in twin.blocks:
        block.attention.q.weight = Disguised(block.attention.q.weight.data)
    return twin


@pytest.mark.parametrize("documents", [False, True])
def test_fused_and_plain_paths_agree_in_values_and_gradients(documents: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = fused.norm_qkv
    monkeypatch.setattr("forescale.model.transformer.norm_qkv", lambda *a: calls.append(1) or real(*a))
    model, ids = build(), ids_of(SHAPE, 3, 24)
    twin = plain_twin(model)
    numbers = torch.arange(24).div(9, rounding_mode="floor").expand(3, -1) if documents else None
    a, b = model(ids, documents_BT=numbers), twin(ids, documents_BT=numbers)
    assert len(calls) == SHAPE.n_layer
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    weight = torch.randn(a.shape, generator=torch.Generator().manual_seed(2))
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        if not name.startswith("head"):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4, msg=name)


def test_gradients_against_finite_differences() -> None:
    torch.manual_seed(0)
    x, gain = torch.randn(1, 3, 8, dtype=torch.float64), torch.rand(8, dtype=torch.float64)
    q, k, v = (torch.randn(n, 8, dtype=torch.float64) for n in (8, 4, 4))
    cos, sin = rope_table(3, 4).double()
    turn = torch.complex(cos[:, :2], sin[:, 2:])
    leaves = [t.requires_grad_() for t in (x, gain, q, k, v)]
    assert torch.autograd.gradcheck(lambda *a: fused.norm_qkv(a[0], a[1], a[2:], turn, 4, 1e-6), leaves)
    gate, up, down = (torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((6, 8), (6, 8), (8, 6)))
    rows = x.detach()[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: fused.norm_swiglu(a[0], a[1], a[2:], 1e-6), (rows, gain, gate, up, down))


def test_positions_never_see_the_future() -> None:
    model, ids = build(), ids_of(SHAPE, 1, 20)
    other = ids.clone()
    other[0, 12] = (other[0, 12] + 1) % SHAPE.vocab_size
    a, b = model(ids), model(other)
    torch.testing.assert_close(a[:, :12], b[:, :12], rtol=0, atol=1e-6)
    assert (a[:, 12:] - b[:, 12:]).abs().amax((0, 2)).gt(1e-4).all()


def test_documents_do_not_see_each_other() -> None:
    model, ids = build(), ids_of(SHAPE, 1, 20)
    numbers = (torch.arange(20) >= 8).long()[None]
    together = model(ids, documents_BT=numbers)
    torch.testing.assert_close(together[:, :8], model(ids[:, :8]), rtol=1e-4, atol=1e-5)
    # rotary attention sees only differences of positions, so a document reads the same wherever it starts
    torch.testing.assert_close(together[:, 8:], model(ids[:, 8:]), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_cache_gives_what_a_whole_pass_gives_for_ragged_rows() -> None:
    model, ids = build(), ids_of(SHAPE, 3, 20)
    whole = model(ids)
    lengths = torch.tensor([5, 9, 3])
    cache = KVCache(SHAPE, 3, 20)
    model(ids[:, :9], cache=cache)  # right-padded prompts in one pass
    cache.lengths = lengths.clone()
    for _ in range(10):
        token = ids.gather(1, cache.lengths[:, None])
        expected = whole[torch.arange(3), cache.lengths]
        torch.testing.assert_close(model(token, cache=cache)[:, 0], expected, rtol=1e-4, atol=1e-5)
    cache.keep(torch.tensor([2, 0]))
    at = cache.lengths.clone()
    step = model(ids[[2, 0]].gather(1, at[:, None]), cache=cache)
    torch.testing.assert_close(step[:, 0], whole[[2, 0], at], rtol=1e-4, atol=1e-5)


def test_cache_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="does not fit"):
        build()(ids_of(SHAPE, 1, 9), cache=KVCache(SHAPE, 1, 8))


def test_positions_beyond_seq_len_extend_the_table() -> None:
    model, ids = build(), ids_of(SHAPE, 1, 40)
    torch.testing.assert_close(model(ids)[:, :24], build()(ids[:, :24]), rtol=1e-4, atol=1e-5)


def test_rotation_keeps_length_and_depends_on_distance_only() -> None:
    cos, sin = rope_table(50, 8)
    x, y = torch.randn(2, 8)
    at = lambda v, t: rotate(v, cos[t], sin[t])  # noqa: E731
    torch.testing.assert_close(at(x, 40).norm(), x.norm())
    torch.testing.assert_close(at(x, 7) @ at(y, 3), at(x, 45) @ at(y, 41), rtol=1e-4, atol=1e-5)


def test_initialisation_hangs_on_names_and_seed_alone() -> None:
    small, deep = Transformer(SHAPE), Transformer(ModelShape(4, 32, 4, 2, 48, 61, 24))
    initialise(small, 5)
    torch.manual_seed(123)
    initialise(deep, 5)
    assert torch.equal(small.blocks[1].ffn.up.weight, deep.blocks[1].ffn.up.weight)
    assert not torch.equal(small.blocks[0].ffn.up.weight, small.blocks[1].ffn.up.weight)
    first = small.head.weight.clone()
    initialise(small, 6)
    assert not torch.equal(first, small.head.weight)


def test_initial_spread_follows_the_width() -> None:
    assert Transformer(ModelShape(1, 4096 // 16, 4, 4, 64, 300, 8)).init_std == pytest.approx(0.006 * 4)
    wide = Transformer(ModelShape(1, 128, 4, 4, 352, 500, 8))
    initialise(wide, 0)
    assert float(wide.embedding.weight.detach().std()) == pytest.approx(0.384 / 128**0.5, rel=0.02)


def test_parameters_are_those_that_the_shape_counts() -> None:
    assert sum(p.numel() for p in Transformer(SHAPE).parameters()) == SHAPE.params
