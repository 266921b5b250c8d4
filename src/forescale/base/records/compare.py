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
    """Expected at each corpus's best split; tokens that it would have to repeat are counted as new ones."""
    repeats: dict[str, float] = Field(default_factory=dict)
    """Corpus -> times that its best split there goes through its unique tokens, where they are known and do not last
    for one."""


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


class Paired(Record):
    """Runs that differ in nothing but the corpus, at one budget: what was measured, before any law."""

    flops: float
    """The budget."""
    pair: tuple[str, str]
    runs: int
    """Pairs of runs of equal shape, tokens, learning rate, batch and seed."""
    difference: float
    """Mean of loss(first) / loss(second) - 1: below zero the first is better."""
    interval: tuple[float, float] | None
    """90%, from the spread between the pairs; None with fewer than two."""
    first_better: int
    """Pairs in which the first has the lower loss."""


class TrendPoint(Record):
    """The difference that the trend of like runs gives at one compute."""

    flops: float
    difference: float
    """loss(first) / loss(second) - 1."""
    interval: tuple[float, float]
    """90%."""
    first_better: float
    """Probability that the first has the lower loss there."""


class Trend(Record):
    """How the difference between like runs moves with compute: a line in ln C through their log ratios."""

    pair: tuple[str, str]
    slope: float
    """Change of the difference for ten times the compute: below zero the first gains."""
    interval: tuple[float, float]
    """90%, trunks drawn anew."""
    crossing: float | None
    """FLOPs at which the line is zero, where that lies inside the budgets or within a factor of ten."""
    crosses: float
    """Share of draws that cross zero between the smallest and the largest budget."""
    points: list[TrendPoint]


class OutsideSet(Record):
    """One folder of text that every run was scored on."""

    name: str
    documents: int
    """As read."""
    bytes: int
    removed: dict[str, int] = Field(default_factory=dict)
    """Reason (a quality rule, `duplicate`, `near NAME's training text`) -> documents."""
    contaminated: dict[str, int] = Field(default_factory=dict)
    """Corpus -> documents that resemble a training document of it; all of them are left out."""
    used_documents: int = 0
    used_bytes: int = 0
    """Equal for all sets."""


class Outside(Record):
    """The common outside set: what it is made of, and how far training text still touches it."""

    sets: list[OutsideSet]
    tokens: int = 0
    scored_tokens: int = 0
    """Tokens each run is scored on, spread evenly over the set."""
    contact_ngram: int = 13
    contact: dict[str, float] = Field(default_factory=dict)
    """Corpus -> share of the set's distinct word n-grams that occur in its training text."""


class SetOrder(Record):
    """The same comparison on one outside set alone."""

    better: list[Better]
    exponents: dict[str, CorpusExponent]
    crossings: list[Crossing]
    paired: list[Paired]
    trends: list[Trend]
    tables: dict[str, str]
    """Corpus -> its run table, scored on this set."""
    warnings: list[str]


class Comparison(Record):
    """Several corpora side by side, on common validation sets."""

    corpora: dict[str, Laws]
    better: list[Better]
    exponents: dict[str, CorpusExponent]
    crossings: list[Crossing]
    paired: list[Paired] = Field(default_factory=list)
    trends: list[Trend] = Field(default_factory=list)
    sets: dict[str, SetOrder] = Field(default_factory=dict)
    """Outside set -> the order on it alone, where there are several."""
    outside: Outside | None = None
    """For corpora that ladders were run on."""
    tables: dict[str, str] = Field(default_factory=dict)
    """Corpus -> its run table, for corpora that ladders were run on."""
    report: str | None = None
    """The report's path, where one was written."""
    warnings: list[str] = Field(default_factory=list)
