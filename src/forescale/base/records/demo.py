"""What the demo ends with."""

from __future__ import annotations

from typing import Any

from forescale.base.records.record import Record


class DemoResult(Record):
    """Forecast, interval and outcome side by side, and where everything lies. `unit` is bits per byte."""

    report: str
    chat_model: str
    forecast: float
    interval: tuple[float, float] | None
    outcome: float
    unit: str
    regime: str
    extrapolation: dict[str, float | None]
    ladder_runs: int
    flops: dict[str, float]
    seconds: dict[str, float]
    corpus: dict[str, Any]
