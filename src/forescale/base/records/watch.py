"""What a running (or ended) run's curve says of its final loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forescale.base.records.record import Record

LeftBy = Literal["loss", "forecast"]


class InFlight(Record):
    """The final loss as seen from one step."""

    step: float
    median: float
    interval: tuple[float, float]


class Rise(Record):
    """A loss that has left its lowest level upwards, and is there now."""

    since: float
    """The last step at which it was near its lowest."""
    by: float
    """Fraction of the loss that it has risen by."""


class Watch(Record):
    """A run in flight."""

    source: str
    format: str
    """Which kind of log it was read as."""
    columns: dict[str, str] = Field(default_factory=dict)
    """What was read as what: `loss` names the curve that is followed."""
    other_losses: list[str] = Field(default_factory=list)
    """Losses that the log has too; `--column loss=NAME` follows one of them."""
    unit: str
    """nats_per_token or bpb; for foreign logs whatever they log."""
    step: float
    total_steps: float | None
    progress: float | None
    """Share of the run that is done."""
    loss: float
    """Smoothed loss now."""
    final: InFlight | None
    """None: see `reason`."""
    reason: str | None = None
    """Why there is no final loss."""
    level: float
    schedules: dict[str, float] = Field(default_factory=dict)
    """Ways in which the learning rate may go on, each with its weight."""
    history: list[InFlight] = Field(default_factory=list)
    """The same from earlier steps, seeing only what was known then."""
    band: tuple[float, float] | None = None
    """The sealed interval, or the first in-flight one."""
    left_since: float | None = None
    """Step since which the run has been outside the band, by what `left_by` says; None: it is inside."""
    left_by: LeftBy | None = None
    """`loss`: it has risen so far that, with all the fall still to come, it ends above the band. `forecast`: the final
    loss expected from each look since has lain outside."""
    rising: Rise | None = None
    """None: the loss lies where its lowest was, within its noise."""
    warnings: list[str] = Field(default_factory=list)
