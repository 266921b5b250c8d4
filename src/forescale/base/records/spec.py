"""RunSpec: everything a rank needs to train, and nothing it has to ask for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forescale.base.records.record import Record
from forescale.base.shape import ModelShape

MULTI_STEP: tuple[tuple[float, float], ...] = ((0.0, 1.0), (0.8, 0.1**0.5), (0.9, 0.1))
"""Fraction of the tokens at which a stage starts, and its factor on the peak rate (paper 2.3: 31.6% and 10%)."""


class Schedule(Record):
    """Learning rate as a factor of the peak, by fraction of the run's tokens, after a linear warm-up in steps."""

    kind: Literal["multi_step", "constant"] = "multi_step"
    points: tuple[tuple[float, float], ...] = MULTI_STEP

    @property
    def constant_until(self) -> float:
        """Fraction of the tokens up to which the rate is the peak: what branches of a trunk share."""
        return self.points[1][0] if len(self.points) > 1 else 1.0


class RunSpec(Record):
    """One trunk: a model trained at constant rate, with a decayed branch at each of `branches` tokens.

    A single run is a trunk with one branch. Batches are a pure function of (seed, step), so all branches of a
    trunk see the same tokens in the same order, and a resumed run sees what an uninterrupted one would.
    """

    name: str
    shape: ModelShape
    learning_rate: float = Field(gt=0)
    """Peak rate."""
    batch_tokens: int = Field(gt=0)
    """Tokens a step; a multiple of seq_len."""
    branches: tuple[int, ...]
    """Tokens at which a branch ends, ascending, each a multiple of batch_tokens; the last one is the run's total."""
    budgets: tuple[float, ...] = ()
    """The ladder's nominal compute of each branch, for the run table's `budget`; empty = none."""
    warmup_steps: int = 0
    schedule: Schedule = Schedule()
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    clip: float = 1.0
    init_std: float | None = None
    """None: 0.384 / sqrt(d_model), the paper's 0.006 at d = 4096."""
    seed: int = 0
    tokens_dir: str
    """A TokenShards folder."""
    tokenizer_dir: str
    out_dir: str
    """Holds log.jsonl, record.json, checkpoints/, weights/."""
    validation_tokens: int = 262_144
    """How many tokens of the validation split each branch is scored on (always the same ones)."""
    attend_across_documents: bool = True
    """False: a position sees only its own document."""
    save_weights: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    processes: int = 1
    """Data-parallel ranks."""
    tensor: int = 1
    pipeline: int = 1
    sharding: Literal["auto", "replicate", "shard"] = "auto"
    """Every rank holds the whole model, or its part (FSDP2); auto: parts where several ranks have GPUs."""
    threads: int = 1
    """Torch threads a rank."""
    micro_batch: int = 0
    """Sequences a forward pass; 0: whatever fits 8,192 tokens."""
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0
    """0: by minutes only."""
    checkpoint_keep: int = 2
    log_steps: int = 10
    seal: str | None = None
    """Hash of the ledger's sealed line, for a run whose forecast was sealed."""
    plan: str | None = None
    group: str = ""
    """The corpus, for the run table."""
    compile: bool = False
