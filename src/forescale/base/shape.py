"""The shape of a model, and the only place that counts its parameters and FLOPs.

The paper's letters: N1 non-embedding parameters, N2 all of them, M non-embedding training FLOPs per token,
D tokens, C = M * D (paper 5.2, Eq. 2). For a model with grouped-query heads or a feed-forward width that is not
8/3 of the model's, the true weights of the blocks' matrices are counted, as the paper did for its 67B.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from forescale.base.errors import ConfigError


@dataclass(frozen=True)
class ModelShape:
    """What decides a transformer's size. `head_dim` 0 means d_model / n_head."""

    n_layer: int
    d_model: int
    n_head: int
    n_kv_head: int
    d_ffn: float  # whole in every model that is built; the counting functions accept the paper's unrounded 8/3 d
    vocab_size: int
    seq_len: int
    head_dim: int = 0

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            if key != "head_dim" and not value > 0:
                raise ConfigError(f"{key} must be positive, not {value}", key=key)
        if self.head_dim == 0:
            if self.d_model % self.n_head:
                raise ConfigError(
                    f"a width of {self.d_model} cannot be cut into {self.n_head} heads",
                    remedy="make d_model a multiple of n_head, or give head_dim",
                    key="n_head",
                )
            object.__setattr__(self, "head_dim", self.d_model // self.n_head)
        if self.n_head % self.n_kv_head:
            raise ConfigError(
                f"{self.n_head} query heads cannot share {self.n_kv_head} key/value heads",
                remedy="make n_kv_head a divisor of n_head",
                key="n_kv_head",
            )

    @property
    def block_weights(self) -> float:
        """Weights of the matrices in all blocks."""
        attention = self.d_model * self.head_dim * (2 * self.n_head + 2 * self.n_kv_head)
        return self.n_layer * (attention + 3 * self.d_model * self.d_ffn)

    @property
    def params_non_embedding(self) -> float:
        """N1: the blocks' matrices (norm gains are left out, as in the paper's 72 n d² / 6)."""
        return self.block_weights

    @property
    def params(self) -> float:
        """N2: with embeddings, both matrices (untied), and every norm gain."""
        norms = self.d_model * (2 * self.n_layer + 1)
        return self.block_weights + 2 * self.vocab_size * self.d_model + norms

    @property
    def flops_per_token(self) -> float:
        """M: training FLOPs per token of the blocks (paper Eq. 2): 6 a weight, 12 n_layer (n_head head_dim) seq_len."""
        return 6.0 * self.block_weights + 12.0 * self.n_layer * self.n_head * self.head_dim * self.seq_len

    @property
    def hardware_flops_per_token(self) -> float:
        """M and the output head, which tiny models spend more on than on their blocks."""
        return self.flops_per_token + 6.0 * self.vocab_size * self.d_model


def ffn_width(d_model: int, multiple: int = 256) -> int:
    """8/3 of the width, rounded up to `multiple` (paper 2.2; 256 in the published configurations).

    >>> ffn_width(4096), ffn_width(8192)
    (11008, 22016)
    """
    return multiple * math.ceil(8 * d_model / 3 / multiple)
