"""Plan: what to train for a budget, what it needs, what it will reach; exactly the keys that `plan --json` prints."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal

from pydantic import Field

from forescale.base.records.forecast import Forecast
from forescale.base.records.record import Record
from forescale.base.shape import ModelShape

Objective = Literal["flops", "hours", "money"]
Sharding = Literal["full", "zero1"]


class PlanModel(Record):
    """The chosen shape and its counts."""

    n_layer: int
    d_model: int
    n_head: int
    n_kv_head: int
    d_ffn: int
    vocab_size: int
    seq_len: int
    params_non_embedding: int
    params: int

    @classmethod
    def of(cls, shape: ModelShape) -> PlanModel:
        """The record of a shape; heads are always d_model / n_head wide here."""
        return cls(
            n_layer=shape.n_layer,
            d_model=shape.d_model,
            n_head=shape.n_head,
            n_kv_head=shape.n_kv_head,
            d_ffn=int(shape.d_ffn),
            vocab_size=shape.vocab_size,
            seq_len=shape.seq_len,
            params_non_embedding=round(shape.params_non_embedding),
            params=round(shape.params),
        )

    @property
    def shape(self) -> ModelShape:
        """Back to the shape that counts."""
        return ModelShape(
            n_layer=self.n_layer,
            d_model=self.d_model,
            n_head=self.n_head,
            n_kv_head=self.n_kv_head,
            d_ffn=self.d_ffn,
            vocab_size=self.vocab_size,
            seq_len=self.seq_len,
        )


class PlanSchedule(Record):
    """Learning rate as a factor of the peak, by fraction of the tokens at which a stage starts."""

    kind: str
    points: list[tuple[float, float]]


class Waits(Record):
    """What keeps devices from work, each as a share of the time that those before it leave."""

    idle: float
    """Devices that the layout does not use."""
    steps: float
    """What a step costs whatever its batch."""
    network: float
    """Gradients and weights that take longer to exchange between the copies than the step's compute."""
    bubble: float
    """Pipeline stages that wait for the first or the last micro-batch: (p - 1) / (m + p - 1) under 1F1B."""
    uneven: float
    """Stages that wait for the longest one, where the layers do not divide by the stages."""
    traffic: float
    """All-reduces of a tensor split."""

    @property
    def busy(self) -> float:
        """Share of the devices' time in which they work."""
        return math.prod(1.0 - value for value in self.to_json().values())


class Layout(Record):
    """How the devices share the work, and whether it fits."""

    data: int
    tensor: int
    pipeline: int
    micro_batch: int
    """Sequences a device takes through forward and backward at once."""
    memory_gib_per_device: float
    days: float
    busy: float | None = None
    """Share of the time of all devices in which they work; `utilisation` is that of a working device, so that
    days = M x D / (gpus x peak x utilisation x busy). None: written before this was counted."""
    waits: Waits | None = None
    """What the rest of the time goes to."""
    sharding: Sharding | None = None
    """What the copies share out among them: `full` weights, gradients and optimizer (ZeRO-3), `zero1` the optimizer
    alone. None: written before this was said; it was `full`."""


class Cost(Record):
    """What the run costs; `ladder_share` is the ladder's compute over ladder and run together."""

    device_hours: float | None
    money: float | None = None
    ladder_share: float | None = None


class LawsSay(Record):
    """What the laws alone say at the plan's budget: unrounded, unconstrained. None: no law at all."""

    flops_per_token: float | None
    tokens: float | None
    batch_tokens: float | None
    learning_rate: float | None


class ParetoPoint(Record):
    """A batch, and what reaching the plan's loss with it costs."""

    batch_tokens: int
    tokens: float
    hours: float | None
    money: float | None


class Plan(Record):
    """One training run, decided. `flops` is always M x D of the rounded plan."""

    flops_asked: float
    flops: float
    flops_per_token: float
    tokens: int
    epochs: float
    """Times the unique tokens are seen; 1 where they were not limited."""
    model: PlanModel
    batch_tokens: int
    learning_rate: float
    warmup_steps: int
    steps: int
    schedule: PlanSchedule
    forecast: Forecast | None
    layout: Layout | None
    checkpoint_gib: float
    cost: Cost
    laws: str
    """Where the laws come from."""
    laws_say: LawsSay
    pareto: list[ParetoPoint] | None = None
    warnings: list[str] = Field(default_factory=list)
    # More than the contract asks:
    device: str | None = None
    gpus: int | None = None
    utilisation: float | None = None
    unique_tokens: float | None = None
    serve_tokens: float | None = None
    borrowed: dict[str, str] = Field(default_factory=dict)
    """What did not come from `laws`, and whose it is: laws that these lack, and what weighs size against tokens."""
    seconds: float | None = None
    """Expected duration where seconds per token were measured."""

    @property
    def digest(self) -> str:
        """SHA-256 over the whole plan: what the ledger seals."""
        return self.digest_of(self.to_json())

    @staticmethod
    def digest_of(fields: Any) -> str:
        """The digest of a plan's JSON, as its file has it."""
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Plans(Record):
    """Several plans side by side; each is what `plan --json` prints for it alone."""

    plans: list[Plan]
    names: list[str]
    """What tells each from its neighbours: what was asked for it, or the name it is kept under."""
