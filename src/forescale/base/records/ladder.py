"""How a ladder ended."""

from __future__ import annotations

from forescale.base.records.record import Record


class Round(Record):
    """A round of a ladder that goes on by itself. Widths are fractions of the target's loss."""

    target_flops: float
    allowance: float
    """FLOPs in all that this call might spend."""
    width_before: float
    expected: float
    """Width that the laws alone expected after it."""
    promised: float
    """That, discounted by what earlier rounds promised in vain."""
    width_after: float | None = None
    """What came; None: not ended, or no interval any more."""
    ended: bool = False
    flops: float
    runs: tuple[str, ...]


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
    """Compute of all trunks, shared stages counted once; of runs that did not end, what they had spent."""
    estimated_seconds: float | None = None
    seconds: float = 0.0
    """Wall time, all sittings together."""
    note: str = ""
    """Why it stopped, for a ladder that went on until a width or an allowance."""
    rounds: tuple[Round, ...] = ()
    """Its rounds of suggested runs: what each promised, and what came."""
