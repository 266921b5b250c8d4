"""Suggestion: the runs to make next for a target's forecast; the keys that `ladder suggest --json` prints."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.laws import Scale
from forescale.base.records.record import Record


class SuggestedRun(Record):
    """One run worth its compute. Size as `flops_per_token` or `params`, as the laws count it."""

    flops_per_token: float | None = None
    params: float | None = None
    tokens: float
    flops: float
    lr: float | None = None
    batch_tokens: float | None = None
    seed: int = 0
    row: int | None = None
    """Data row (from 1) of the candidates' table, where one was given."""


class Suggestion(Record):
    """What to run next, and how far it should narrow the forecast. Widths are fractions of the loss."""

    target_flops: float
    width_now: float
    runs: list[SuggestedRun]
    width_after: float
    flops: float
    scale: Scale = "M"
    warnings: list[str] = Field(default_factory=list)
