"""Loss travels as one noun, so that nobody computes bits per byte a second way."""

from __future__ import annotations

import math

from forescale.base.records.record import Record


class LossSum(Record):
    """Summed negative log-likelihood of `tokens` tokens that stand for `bytes` bytes of UTF-8."""

    nats: float = 0.0
    tokens: int = 0
    bytes: int = 0

    @property
    def nats_per_token(self) -> float:
        """Mean loss in nats per token; not comparable between tokenizers."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Summed nats / (ln 2 x bytes): comparable between tokenizers (paper 3.2)."""
        return self.nats / (math.log(2) * self.bytes) if self.bytes else math.nan

    def __add__(self, other: LossSum) -> LossSum:
        return LossSum(nats=self.nats + other.nats, tokens=self.tokens + other.tokens, bytes=self.bytes + other.bytes)
