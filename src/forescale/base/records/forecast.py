"""Forecast: the loss of one new run as a predictive distribution, with what it rests on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from forescale.base.records.laws import Regime, Scale, SelfCheck, Unit
from forescale.base.records.record import Record


class Extrapolation(Record):
    """Target over the largest run used in the fit; below 1 = inside the ladder. None: not known."""

    flops: float | None
    size: float | None
    tokens: float | None


class Assumption(Record):
    """One thing that the forecast takes for granted, and what a difference costs."""

    what: str
    ladder: Any = None
    target: Any = None
    charged: float = 0.0
    """Relative standard deviation added to the interval for this difference."""
    raised: float = 0.0
    """Fraction by which the forecast itself is higher for it: a learning rate or batch away from the best."""
    why: str = ""
    """What is charged by; empty where nothing differs."""


class Forecast(Record):
    """The expected loss of one new run; the interval includes its seed noise."""

    loss: float
    interval: tuple[float, float] | None
    """None: published laws, whose error was never measured."""
    level: float
    unit: Unit
    scale: Scale
    model_scale: float
    tokens: float
    flops: float
    learning_rate: float | None = None
    batch_tokens: float | None = None
    extrapolation: Extrapolation
    source: str = ""
    regime: Regime = "unknown"
    assumptions: list[Assumption] = Field(default_factory=list)
    self_check: SelfCheck | None = None
    warnings: list[str] = Field(default_factory=list)
    quantiles: list[tuple[float, float]] = Field(default_factory=list)
    """(probability, loss) of the whole predictive distribution, ascending."""

    @property
    def width(self) -> float | None:
        """Width of the interval as a fraction of the forecast."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / self.loss
