"""What an interval is worth, counted one way for all benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Score:
    """One forecast against its outcome."""

    error: float
    """forecast / outcome - 1."""
    width: float
    """Of the interval, over the forecast."""
    inside: bool
    winkler: float


def winkler(low: npt.ArrayLike, high: npt.ArrayLike, outcome: npt.ArrayLike, level: float = 0.9) -> npt.NDArray:
    """Width and 2 / (1 - level) times the miss, over the outcome."""
    low, high, outcome = (np.asarray(v, dtype=float) for v in (low, high, outcome))
    miss = np.maximum(low - outcome, 0.0) + np.maximum(outcome - high, 0.0)
    return np.asarray((high - low + 2 / (1 - level) * miss) / outcome)


def score(loss: float, interval: tuple[float, float] | None, outcome: float, level: float = 0.9) -> Score:
    """A forecast's error, width, whether it held, and its Winkler score."""
    assert interval is not None
    low, high = interval
    value = float(winkler(low, high, outcome, level))
    return Score(loss / outcome - 1, (high - low) / loss, low <= outcome <= high, value)


LEVELS = (0.5, 0.8, 0.9)


def covered(held: npt.ArrayLike) -> str:
    """Shares held at each of LEVELS -> text, from [n, 3] truths."""
    return ", ".join(f"{share:.2f}" for share in np.asarray(held, dtype=float).mean(axis=0))
