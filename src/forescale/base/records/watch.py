"""What a running (or ended) run's curve says of its final loss."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.record import Record


class InFlight(Record):
    """The final loss as seen from one step."""

    step: float
    median: float
    interval: tuple[float, float]


class Watch(Record):
    """A run in flight."""

    source: str
    format: str
    """Which kind of log it was read as."""
    unit: str
    """nats_per_token or bpb; for foreign logs whatever they log."""
    step: float
    total_steps: float | None
    progress: float | None
    """Share of the run that is done."""
    loss: float
    """Smoothed loss now."""
    final: InFlight | None
    """None: the run's length is not known."""
    level: float
    history: list[InFlight] = Field(default_factory=list)
    """The same from earlier steps, seeing only what was known then."""
    band: tuple[float, float] | None = None
    """The sealed interval, or the first in-flight one."""
    left_since: float | None = None
    """Step since which the expected final loss has lain outside the band; None: it is inside."""
    warnings: list[str] = Field(default_factory=list)
