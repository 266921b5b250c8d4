"""Tokens against batch at one loss: the law's batch is the best one of fixed tokens, so any other asks for more tokens.

Beside the law's batch B* the loss of a size and tokens rises by ln L = ln L* + h/2 ln²(B / B*), at the best learning
rate for each batch. h is the laws' own where their runs varied the batch; else that of Step Law's public grid. What
this costs in tokens is read off how the loss falls with tokens. McCandlish's rule (2018, Eq. 5.1), by which a smaller
batch always saves tokens, contradicts the laws: on that grid half the law's batch loses 0.3% of the loss at the same
tokens, a quarter 1.1%.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from forescale.base.shape import ModelShape
from forescale.scaling.guide import Guide
from forescale.scaling.shapes import size_of

CURVATURE = 0.012
"""h where laws have none: Step Law's 11 public cells have 0.011 to 0.015 (`python -m benchmarks.hyper`)."""
CURVATURE_SOURCE = "the public grid of Step Law (arXiv 2503.04715)"
MOST = 16.0
"""Factor of tokens beyond which another batch is not followed (our choice)."""
LEAST = 1e3
"""The same for the tokens that a batch is worth."""
HALVINGS = 30


@dataclass(frozen=True)
class EqualLoss:
    """What batches of one shape need for one loss."""

    shape: ModelShape
    guide: Guide

    @property
    def borrowed(self) -> bool:
        """Whether the batch law is not of these laws."""
        return self.guide.batch.law is not self.guide.laws.batch

    @property
    def curvature(self) -> float:
        """h: the batch law's own, less what the best learning rate for each batch makes up for."""
        batch, rate = self.guide.batch.law, self.guide.learning_rate.law
        if batch.curvature is None:
            return CURVATURE
        if batch.cross is None or not rate.curvature:
            return batch.curvature
        return batch.curvature - batch.cross**2 / rate.curvature

    @property
    def source(self) -> str:
        """Whose h that is, in words."""
        return "these laws' own response to the batch" if self.guide.batch.law.curvature else CURVATURE_SOURCE

    def _loss(self, near: float) -> Callable[[float], float]:
        size = size_of(self.shape, self.guide.laws.scale)
        return self.guide.log_loss(self.shape.flops_per_token, size, near)

    def best(self, tokens: float) -> float:
        """B*, in tokens."""
        return self.guide.batch.value(self.shape, tokens, math.nan)

    def excess(self, batch: float, tokens: float) -> float:
        """By how much ln L at this batch lies above that at the law's."""
        return 0.5 * self.curvature * math.log(batch / self.best(tokens)) ** 2

    def worth(self, batch: float, tokens: float) -> float:
        """Tokens at the law's batch that reach the loss of `tokens` at `batch`."""
        loss = self._loss(tokens)
        target = loss(tokens) + self.excess(batch, tokens)
        return tokens if target <= loss(tokens) else _crossing(lambda t: loss(t) - target, tokens / LEAST, tokens)

    def tokens(self, batch: float, worth: float) -> float | None:
        """Tokens at `batch` that reach the loss of `worth` tokens at the law's batch; None: not 16 times as many do."""
        loss = self._loss(worth)
        target = loss(worth)

        def over(tokens: float) -> float:
            return loss(tokens) + self.excess(batch, tokens) - target

        if over(worth) <= 0:
            return worth
        return None if over(MOST * worth) > 0 else _crossing(over, worth, MOST * worth)


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of tokens that falls passes zero; the end where it never does."""
    if falling(low) <= 0:
        return low
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high
