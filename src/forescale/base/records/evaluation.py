"""EvalResult: scores of one model, each with its interval, and every answer kept beside it."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.record import Record


class TaskScore(Record):
    """One task's score with a 90% interval over its items."""

    metric: str
    score: float
    interval: tuple[float, float]
    n: int
    protocol: str
    """perplexity, generation or language-modelling (paper 7.1)."""
    normalisation: str = "none"
    shots: int = 0
    seed: int = 0
    prompt_sha256: str = ""
    template: str = ""
    answers: str = ""
    """Path of the JSONL with one item a line."""


class EvalResult(Record):
    """One model's evaluation."""

    model: str
    weights_sha256: str
    precision: str
    tasks: dict[str, TaskScore]
    left_out: dict[str, int] = Field(default_factory=dict)
    """Held-out items that could not be asked, by reason (too long for the model's positions)."""
