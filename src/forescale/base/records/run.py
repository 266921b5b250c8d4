"""RunRecord: how one branch ended; a row of the run table."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from forescale.base.records.loss import LossSum
from forescale.base.records.record import Record
from forescale.base.shape import ModelShape

RUN_COLUMNS = (
    "run", "trunk", "group", "budget", "flops", "flops_per_token", "tokens", "params", "n_layer", "d_model", "n_head",
    "n_kv_head", "d_ffn", "vocab_size", "seq_len", "lr", "batch_tokens", "steps", "seed", "warmup_tokens",
    "weight_decay", "optimizer", "schedule", "loss", "bpb", "bigram_bpb", "unique_tokens", "hardware_flops", "seconds",
    "validation", "tokenizer", "status",
)  # fmt: skip
"""Columns of `ladders/NAME/runs.csv`, in this order."""
OPTIMIZER = "adamw"
"""The one that runs are trained with, as their table names it."""


class RunRecord(Record):
    """One run's end. `flops` is tokens x M of the steps really taken."""

    run: str
    trunk: str
    group: str = ""
    budget: float | None = None
    shape: ModelShape
    tokens: int
    steps: int
    batch_tokens: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    seed: int
    schedule: str = "multi_step"
    train_loss: float | None = None
    """Mean of the last steps, nats per token."""
    validation: LossSum | None
    """None for a run that did not end well."""
    validation_sets: dict[str, LossSum] = Field(default_factory=dict)
    """The same, set by set, where the validation split has several."""
    bigram_bpb: float | None = None
    unique_tokens: int | None = None
    tokenizer: str = ""
    validation_id: str = ""
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    status: Literal["finished", "diverged", "failed", "interrupted"] = "finished"
    reason: str = ""
    precision: str = "fp32"
    hardware: str = ""
    seal: str | None = None
    plan: str | None = None
    weights: str | None = None
    """Folder of the weights, where they were kept."""

    @property
    def flops(self) -> float:
        """C = M * D."""
        return self.shape.flops_per_token * self.tokens

    def row(self) -> dict[str, Any]:
        """This record as a row of the run table (RUN_COLUMNS)."""
        shape, loss = self.shape, self.validation
        return {
            "run": self.run, "trunk": self.trunk, "group": self.group, "budget": self.budget, "flops": self.flops,
            "flops_per_token": shape.flops_per_token, "tokens": self.tokens, "params": int(shape.params),
            "n_layer": shape.n_layer, "d_model": shape.d_model, "n_head": shape.n_head, "n_kv_head": shape.n_kv_head,
            "d_ffn": int(shape.d_ffn), "vocab_size": shape.vocab_size, "seq_len": shape.seq_len,
            "lr": self.learning_rate, "batch_tokens": self.batch_tokens, "steps": self.steps, "seed": self.seed,
            "warmup_tokens": self.warmup_steps * self.batch_tokens, "weight_decay": self.weight_decay,
            "optimizer": OPTIMIZER, "schedule": self.schedule, "loss": loss.nats_per_token if loss else None,
            "bpb": loss.bits_per_byte if loss else None, "bigram_bpb": self.bigram_bpb,
            "unique_tokens": self.unique_tokens, "hardware_flops": shape.hardware_flops_per_token * self.tokens,
            "seconds": self.seconds, "validation": self.validation_id, "tokenizer": self.tokenizer,
            "status": self.status,
        }  # fmt: skip
