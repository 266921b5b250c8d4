"""The paper's transformer (paper 2.2): pre-norm RMSNorm, SwiGLU, rotary positions, grouped-query attention.

Shapes: B sequences, T positions, D model width, H query heads, G key/value heads, E head width, S cache positions.
Nothing here knows of other ranks: parallelism is put on from outside.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forescale.base.errors import InputError
from forescale.base.shape import ModelShape
from forescale.model.fused import norm_qkv, norm_swiglu

NORM_EPS = 1e-6
ROPE_THETA = 10_000.0


def rope_table(n_positions: int, d_head: int, theta: float = ROPE_THETA) -> Tensor:
    """Cosines and signed sines of every position, [2, T, E], for `rotate` (Hugging Face's half rotation)."""
    inverse = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle_TE = torch.outer(torch.arange(n_positions, dtype=torch.float64), inverse).repeat(1, 2)
    sign_E = torch.ones(d_head, dtype=torch.float64)
    sign_E[: d_head // 2] = -1
    return torch.stack((angle_TE.cos(), angle_TE.sin() * sign_E)).float()


def rotate(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """Rotate each half-pair (e, e + E/2) by its position's angle; `sin_TE` carries the sign of its half."""
    return torch.addcmul(x_BHTE * cos_TE, x_BHTE.roll(x_BHTE.shape[-1] // 2, -1), sin_TE)


class Rope(NamedTuple):
    """The angles of the positions at hand, in the form that each path of a block wants."""

    cos: Tensor
    sin: Tensor
    turn_TP: Tensor | None = None
    """One complex number for each position and pair; given where the fused path may run."""


class KVCache:
    """Keys and values of `batch` rows, each at its own length, in memory that never moves.

    Right-padded prompts may be filled in one pass: set `lengths` to the true ones afterwards, and what lies behind
    them is overwritten as the row goes on, and never attended to before that.
    """

    def __init__(
        self,
        shape: ModelShape,
        batch: int,
        n_positions: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        size = (shape.n_layer, batch, shape.n_kv_head, n_positions, shape.head_dim)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)
        """Positions filled in each row: where its next token goes."""
        self.n_positions = n_positions

    def keep(self, rows_B: Tensor) -> None:
        """Drop the rows that are not named; the others move together in the order given."""
        self.keys, self.values = self.keys[:, rows_B], self.values[:, rows_B]
        self.lengths = self.lengths[rows_B]


class _Step:
    """What all layers of one cached forward share: where to write, how far to read, who sees whom."""

    def __init__(self, cache: KVCache, positions_BT: Tensor) -> None:
        self.cache, self.positions_BT = cache, positions_BT
        self.n_read = int(positions_BT.max()) + 1
        if self.n_read > cache.n_positions:
            raise InputError(
                f"position {self.n_read} does not fit a cache of {cache.n_positions}",
                remedy="generate fewer tokens or shorten the prompt",
            )
        seen = torch.arange(self.n_read, device=positions_BT.device)
        self.mask_B1TS = (seen <= positions_BT[..., None])[:, None]
        self.rows_B1 = torch.arange(positions_BT.shape[0], device=positions_BT.device)[:, None]

    def store(self, layer: int, k_BGTE: Tensor, v_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new positions of one layer; give back all keys and values that may be seen."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys.transpose(1, 2)[self.rows_B1, self.positions_BT] = k_BGTE.transpose(1, 2).to(keys.dtype)
        values.transpose(1, 2)[self.rows_B1, self.positions_BT] = v_BGTE.transpose(1, 2).to(values.dtype)
        return keys[:, :, : self.n_read], values[:, :, : self.n_read]


class Norm(nn.Module):
    """RMSNorm with a gain."""

    def __init__(self, width: int, eps: float = NORM_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention with grouped heads and rotary positions."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        d, self.d_head = shape.d_model, shape.head_dim
        self.grouped = shape.n_head != shape.n_kv_head
        self.q = nn.Linear(d, shape.n_head * self.d_head, bias=False)
        self.k = nn.Linear(d, shape.n_kv_head * self.d_head, bias=False)
        self.v = nn.Linear(d, shape.n_kv_head * self.d_head, bias=False)
        self.out = nn.Linear(shape.n_head * self.d_head, d, bias=False)

    def forward(self, x_BTD: Tensor, rope: Rope, step: _Step | None, layer: int, mask: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        heads = (-1, self.d_head)  # -1: under tensor parallelism a rank holds only its own heads
        q_BHTE = rotate(self.q(x_BTD).unflatten(-1, heads).transpose(1, 2), rope.cos, rope.sin)
        k_BGTE = rotate(self.k(x_BTD).unflatten(-1, heads).transpose(1, 2), rope.cos, rope.sin)
        v_BGTE = self.v(x_BTD).unflatten(-1, heads).transpose(1, 2)
        if step is not None:
            k_BGTE, v_BGTE = step.store(layer, k_BGTE, v_BGTE)
            k_BGTE, v_BGTE, mask = k_BGTE.to(q_BHTE.dtype), v_BGTE.to(q_BHTE.dtype), step.mask_B1TS
        y_BHTE = F.scaled_dot_product_attention(
            q_BHTE, k_BGTE, v_BGTE, attn_mask=mask, is_causal=mask is None, enable_gqa=self.grouped
        )
        return self.out(y_BHTE.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        d, d_ffn = shape.d_model, int(shape.d_ffn)
        self.gate = nn.Linear(d, d_ffn, bias=False)
        self.up = nn.Linear(d, d_ffn, bias=False)
        self.down = nn.Linear(d_ffn, d, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind its norm and added to the stream."""

    def __init__(self, shape: ModelShape, layer: int, norm_eps: float = NORM_EPS) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = Norm(shape.d_model, norm_eps)
        self.attention = Attention(shape)
        self.ffn_norm = Norm(shape.d_model, norm_eps)
        self.ffn = FeedForward(shape)

    def forward(self, x_BTD: Tensor, rope: Rope, step: _Step | None = None, mask: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        if rope.turn_TP is not None and type(self.attention.q.weight) is nn.Parameter:
            return self._fused(x_BTD, rope.turn_TP, mask)
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), rope, step, self.layer, mask)
        return x_BTD + self.ffn(self.ffn_norm(x_BTD))

    def _fused(self, x_BTD: Tensor, turn_TP: Tensor, mask: Tensor | None) -> Tensor:
        """The same in three autograd nodes and attention, around a tenth faster on a CPU."""
        attention, ffn, width = self.attention, self.ffn, x_BTD.shape[-1]
        weights = (attention.q.weight, attention.k.weight, attention.v.weight)
        q, k, v = norm_qkv(
            x_BTD, self.attention_norm.weight, weights, turn_TP, attention.d_head, self.attention_norm.eps
        )
        y_BHTE = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=attention.grouped
        )
        y_ND = y_BHTE.transpose(1, 2).flatten(-2).flatten(0, 1)
        x_ND = torch.addmm(x_BTD.reshape(-1, width), y_ND, attention.out.weight.T)
        weights = (ffn.gate.weight, ffn.up.weight, ffn.down.weight)
        return norm_swiglu(x_ND, self.ffn_norm.weight, weights, self.ffn_norm.eps).view(x_BTD.shape)


class Transformer(nn.Module):
    """Token ids to hidden states; the output head is apart, so that no one need store all logits."""

    rope: Tensor

    def __init__(
        self,
        shape: ModelShape,
        init_std: float | None = None,
        *,
        norm_eps: float = NORM_EPS,
        rope_theta: float = ROPE_THETA,
        tied: bool = False,
    ) -> None:
        """The last three differ from the paper's only in models that others have made."""
        super().__init__()
        self.shape = shape
        self.init_std = 0.384 / math.sqrt(shape.d_model) if init_std is None else init_std
        self.embedding = nn.Embedding(shape.vocab_size, shape.d_model)
        self.blocks = nn.ModuleList(Block(shape, layer, norm_eps) for layer in range(shape.n_layer))
        self.norm = Norm(shape.d_model, norm_eps)
        self.head = nn.Linear(shape.d_model, shape.vocab_size, bias=False)
        self.tied, self.rope_theta = tied, rope_theta
        if tied:
            self.head.weight = self.embedding.weight
        self.register_buffer("rope", rope_table(shape.seq_len, shape.head_dim, rope_theta), persistent=False)

    def forward(
        self,
        ids_BT: Tensor,
        *,
        cache: KVCache | None = None,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the last norm, [B, T, D].

        With a cache, the ids go on where each row ended and the cache grows. With `documents_BT` (a number for each
        position's document), a position sees only its own document.
        """
        step = None
        if cache is not None:
            if positions_BT is None:
                positions_BT = cache.lengths[:, None] + torch.arange(ids_BT.shape[1], device=ids_BT.device)
            step = _Step(cache, positions_BT)
        may_fuse = step is None and ids_BT.device.type == "cpu" and not torch.compiler.is_compiling()
        rope = self._rope(ids_BT.shape[1], positions_BT, fuse=may_fuse and not torch.is_autocast_enabled("cpu"))
        mask = None if documents_BT is None else _same_document(documents_BT)
        x_BTD = self.embedding(ids_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, rope, step, mask)
        if cache is not None and positions_BT is not None:
            cache.lengths = positions_BT[:, -1] + 1
        return self.norm(x_BTD)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V]: scores of the next token."""
        return self.head(hidden)

    def make_rope(self, device: torch.device | str) -> None:
        """Make the table of positions anew, e.g. after the model was built without memory."""
        self.rope = rope_table(self.shape.seq_len, self.shape.head_dim, self.rope_theta).to(device)

    def _rope(self, n_positions: int, positions_BT: Tensor | None, fuse: bool) -> Rope:
        """Cosines and sines of the positions asked for; the table grows when they lie beyond it."""
        needed = n_positions if positions_BT is None else int(positions_BT.max()) + 1
        table = self.rope
        if needed > table.shape[1]:
            table = rope_table(needed, self.shape.head_dim, self.rope_theta).to(table.device)
            self.rope = table
        table = table.to(self.embedding.weight.dtype)
        if positions_BT is not None:
            return Rope(table[0][positions_BT][:, None], table[1][positions_BT][:, None])
        cos, sin = table[0, :n_positions], table[1, :n_positions]
        if not fuse or table.dtype != torch.float32:
            return Rope(cos, sin)
        half = cos.shape[1] // 2
        return Rope(cos, sin, torch.complex(cos[:, :half], sin[:, half:]))


def _same_document(documents_BT: Tensor) -> Tensor:
    """[B, 1, T, T]: true where the key is not later than the query and of its document."""
    n = documents_BT.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool, device=documents_BT.device).tril()
    return (causal & (documents_BT[:, :, None] == documents_BT[:, None, :]))[:, None]


@torch.no_grad()
def initialise(model: nn.Module, seed: int, init_std: float | None = None) -> None:
    """Draw every matrix from a normal whose generator is seeded by its *name*: every layout starts equal."""
    std = float(getattr(model, "init_std", 0.02)) if init_std is None else init_std
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            parameter.fill_(1.0)
            continue
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))
