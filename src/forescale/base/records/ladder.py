"""How a ladder ended."""

from __future__ import annotations

from forescale.base.records.record import Record


class LadderSummary(Record):
    """A ladder's design and its outcome; the runs themselves are rows of its run table."""

    name: str
    table: str
    """Path of runs.csv."""
    budgets: tuple[float, ...]
    trunks: int
    runs: int
    """Finished rows."""
    failed: dict[str, str] = {}  # noqa: RUF012
    """Trunk -> reason, for those that did not end well."""
    largest_flops: float = 0.0
    """C of the largest run really taken (M x tokens)."""
    total_flops: float = 0.0
    """Compute of all trunks, shared stages counted once."""
    estimated_seconds: float | None = None
    seconds: float = 0.0
    """Wall time, all sittings together."""
    note: str = ""
    """Why it stopped, for a ladder that went on until a width or an allowance."""
