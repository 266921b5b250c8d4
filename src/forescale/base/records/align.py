"""AlignRecord: how a tuning stage (SFT or DPO) went. PreferSummary: what the preference pairs were made from."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from forescale.base.records.loss import LossSum
from forescale.base.records.record import Record


class CurvePoint(NamedTuple):
    """One optimizer step: the loss before it (nats per answer token in SFT, per pair in DPO) and its rate."""

    step: int
    loss: float
    learning_rate: float


class StageRecord(Record):
    """One pass over one data file."""

    data: str
    """Name of the file."""
    data_sha256: str
    examples: int
    """Examples (SFT) or pairs (DPO) that were trained on."""
    shortened: int = 0
    """Conversations whose last turns were cut, because they did not fit the model's positions."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Examples left out, by reason."""
    steps: int = 0
    warmup_steps: int = 0
    counted_tokens: int = 0
    """Answer tokens the loss was taken on, epochs counted."""
    curve: list[CurvePoint] = Field(default_factory=list)


class AlignRecord(Record):
    """One tuned model: `record.json` beside its `weights/`."""

    kind: Literal["sft", "dpo"]
    status: Literal["finished", "skipped"]
    reason: str = ""
    """Why it was skipped."""
    parent: str
    """Weights folder it started from."""
    weights: str | None = None
    """Weights folder it wrote; None when skipped."""
    stages: list[StageRecord] = Field(default_factory=list)
    epochs: float = 0.0
    learning_rate: float = 0.0
    """Peak rate."""
    batch: int = 0
    """Examples or pairs a step."""
    beta: float | None = None
    """DPO's strength of the tie to the reference."""
    heldout_before: LossSum | None = None
    """Answers held out of tuning, scored by the parent (nats, tokens and bytes of the answers)."""
    heldout_after: LossSum | None = None
    accuracy_after: float | None = None
    """DPO: share of the trained pairs whose implicit reward prefers the chosen answer (all tie at the start)."""
    margin_after: float | None = None
    """DPO: mean implicit reward margin, beta x difference of log-ratios, in nats."""
    seed: int = 0
    seconds: float = 0.0

    @property
    def skipped(self) -> bool:
        """Whether nothing was trained."""
        return self.status == "skipped"

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def examples(self) -> int:
        """Examples or pairs of all stages."""
        return sum(stage.examples for stage in self.stages)


class PreferSummary(Record):
    """What `prefer` sampled, and how many prompts gave a usable pair."""

    prompts: int
    samples: int
    """Answers sampled."""
    ended: int
    """Answers that ended."""
    repeating: int
    """Answers that never ended and repeat themselves."""
    pairs: int
    by_reason: dict[str, int] = Field(default_factory=dict)
    """Pairs by what decided: ends, repeats, closer (to the reference answer)."""
    unusable: dict[str, int] = Field(default_factory=dict)
    """Prompts without a pair, by reason."""
    temperature: float = 1.0
    seed: int = 0
    seconds: float = 0.0
