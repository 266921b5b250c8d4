"""What a TokenShards folder says of itself."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.record import Record


class SplitCount(Record):
    """One split's size."""

    documents: int
    tokens: int
    bytes: int


class TokensSummary(Record):
    """`tokens/summary.json`. Beside it, for each split S in train, validation: `S.bin` (ids, `dtype`, documents one
    after another, each closed by `eos_id`), `S.ends.npy` (int64: one past each document's eos), `S.bytes.npy`
    (int64: UTF-8 bytes of each document), and `token_bytes.npy` (int64: bytes that each id stands for; 0 for specials).
    """

    vocab_size: int
    dtype: str
    eos_id: int
    train: SplitCount
    validation: SplitCount
    unigram_nats: float
    """Entropy in nats per token of the validation tokens under the training tokens' own unigram table."""
    bigram_nats: float
    unigram_bpb: float
    bigram_bpb: float
    tokenizer: str
    """First 16 hex digits of the SHA-256 of tokenizer.json."""
    validation_sets: dict[str, int] = Field(default_factory=dict)
    """Where the validation split is several sets, one after another, each scored by itself: name -> tokens."""
    validation_id: str
    """First 16 hex digits of the SHA-256 of validation.bin: names the validation set in run tables."""
