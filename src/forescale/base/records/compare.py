"""Comparison: which corpus is better at which compute, and how surely; the keys that `compare --json` prints."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.laws import Laws
from forescale.base.records.record import Record


class Better(Record):
    """The order of the corpora at one compute, best first."""

    flops: float
    order: list[str]
    probability: float
    """That the first is truly the best there."""
    losses: dict[str, float] = Field(default_factory=dict)


class CorpusExponent(Record):
    """How a corpus wants added compute shared (paper Table 4: better data, larger model exponent)."""

    model_exponent: float | None
    interval: tuple[float, float] | None


class Crossing(Record):
    """The compute at which two corpora change places."""

    pair: tuple[str, str]
    """The first is better below, the second above."""
    flops: float
    probability: float | None = None
    """Share of draws in which the two cross inside the range looked at."""


class Comparison(Record):
    """Several corpora side by side, on common validation sets."""

    corpora: dict[str, Laws]
    better: list[Better]
    exponents: dict[str, CorpusExponent]
    crossings: list[Crossing]
    warnings: list[str] = Field(default_factory=list)
