"""Tokens and specs of runs that take a second: a Markov chain over 64 ids, learnt by a model of 30k weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forescale.base.records.spec import RunSpec
from forescale.base.records.tokens import SplitCount, TokensSummary
from forescale.base.shape import ModelShape

VOCAB = 64
BATCH = 256


def write_tokens(folder: Path, n_train: int = 60_000, n_validation: int = 4_000, seed: int = 0) -> Path:
    """A TokenShards folder; id 0 closes a document and stands for no bytes, the others for 2."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(VOCAB, 0.1), size=VOCAB).cumsum(1)
    counts = {}
    for split, n in (("train", n_train), ("validation", n_validation)):
        ids, now = np.empty(n, np.uint16), 1
        for i, u in enumerate(rng.random(n)):
            now = min(VOCAB - 1, int(np.searchsorted(table[now], u)))
            ids[i] = now
        ids[-1] = 0
        ids.tofile(folder / f"{split}.bin")
        np.save(folder / f"{split}.ends.npy", np.array([n]))
        np.save(folder / f"{split}.bytes.npy", np.array([2 * n]))
        counts[split] = SplitCount(documents=1, tokens=n, bytes=2 * n)
    sizes = np.full(VOCAB, 2, np.int64)
    sizes[0] = 0
    np.save(folder / "token_bytes.npy", sizes)
    TokensSummary(
        vocab_size=VOCAB, dtype="uint16", eos_id=0, train=counts["train"], validation=counts["validation"],
        unigram_nats=3.9, bigram_nats=1.9, unigram_bpb=2.8, bigram_bpb=1.4, tokenizer="a" * 16, validation_id="b" * 16,
    ).write(folder / "summary.json")  # fmt: skip
    return folder


def spec(root: Path, name: str = "run", **changes: Any) -> RunSpec:
    """A run of two branches, 40 and 80 steps."""
    fields: dict[str, Any] = {
        "name": name,
        "shape": ModelShape(n_layer=2, d_model=32, n_head=2, n_kv_head=1, d_ffn=64, vocab_size=VOCAB, seq_len=32),
        "learning_rate": 0.01,
        "batch_tokens": BATCH,
        "branches": (BATCH * 40, BATCH * 80),
        "budgets": (1e9, 2e9),
        "warmup_steps": 4,
        "tokens_dir": str(root / "tokens"),
        "tokenizer_dir": str(root / "tokenizer"),
        "out_dir": str(root / name),
        "validation_tokens": 2048,
        "log_steps": 5,
    }
    return RunSpec(**(fields | changes))
