"""Suggestion: the runs to make next for a target's forecast; the keys that `ladder suggest --json` prints."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.laws import LeftOut, Regime, Scale
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
    n_layer: int | None = None
    """In a workspace, where a run is one that can be trained as it stands: its shape, with the M said above."""
    d_model: int | None = None
    steps: int | None = None
    """Whole steps of `batch_tokens`, there."""


class Suggestion(Record):
    """What to run next, and how far it should narrow the forecast. Widths are fractions of the loss."""

    target_flops: float
    width_now: float
    runs: list[SuggestedRun]
    width_after: float
    width_expected: float | None = None
    """`width_after` by the laws alone, where earlier promises that did not come discount it."""
    flops: float
    scale: Scale = "M"
    regime: Regime = "unknown"
    """The laws' own: off the curve, what is promised is by laws that do not hold yet."""
    left_out: list[LeftOut] = Field(default_factory=list)
    """Rows of the candidates' table that are no runs, or none that a fit would admit."""
    warnings: list[str] = Field(default_factory=list)
