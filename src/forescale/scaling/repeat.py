"""Limited unique data and inference volume: where the optimal split moves away from the laws'.

Around the laws' optimum the reducible loss is a (M / M*)^-alpha + b (D / D*)^-beta, up to a factor, with a and b the
model's and the data's exponent: that is all that these two moves need, and every allocation law gives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

R_DATA = 15.39
"""Repetitions after which repeated tokens have lost 1 - 1/e of their worth (Muennighoff 2023, arXiv 2305.16264)."""
R_MODEL = 5.31
"""The same for excess size (there)."""


@dataclass(frozen=True)
class Around:
    """The loss around the optimum of one compute."""

    m: float
    tokens: float
    alpha: float
    beta: float

    @property
    def flops(self) -> float:
        """Compute of the optimum."""
        return self.m * self.tokens

    def loss(self, m: float, tokens: float) -> float:
        """Reducible loss, 1 at the optimum."""
        share = self.beta / (self.alpha + self.beta)  # at the optimum alpha x model term = beta x data term
        return share * (m / self.m) ** -self.alpha + (1 - share) * (tokens / self.tokens) ** -self.beta


def worth(total: float, unique: float, r: float = R_DATA) -> float:
    """Unique tokens that `total` tokens over `unique` ones are worth (Muennighoff Eq. 5).

    >>> worth(1e9, 2e9), round(worth(4e9, 1e9) / 1e9, 2)
    (1000000000.0, 3.73)
    """
    if total <= unique:
        return total
    repeats = total / unique - 1.0
    return unique + unique * r * (1.0 - math.exp(-repeats / r))


def split_repeated(around: Around, unique: float, unique_m: float) -> tuple[float, float]:
    """M and D on the same compute that lose least when only `unique` tokens exist.

    `unique_m` is the size that is optimal for `unique` tokens seen once: size beyond it loses worth too.
    """

    def loss(log_m: float) -> float:
        m = math.exp(log_m)
        return around.loss(worth(m, unique_m, R_MODEL), worth(around.flops / m, unique))

    log_m = _lowest(loss, math.log(around.m) - 2.0, math.log(around.m) + 6.0)
    return math.exp(log_m), around.flops / math.exp(log_m)


def split_served(around: Around, serve_tokens: float) -> tuple[float, float]:
    """M and D on the same compute that no other pair of equal loss undercuts in training plus serving.

    A token costs M to train on and M / 3 to serve. Minimising M (D + T/3) at a given loss asks for
    alpha x model term / (beta x data term) = 1 + T / (3 D) (after Sardana et al. 2023, arXiv 2401.00448).
    """

    def imbalance(x: float) -> float:  # x = ln(M* / M) >= 0: smaller and longer-trained
        tokens = around.tokens * math.exp(x)
        return (around.alpha + around.beta) * x - math.log1p(serve_tokens / (3.0 * tokens))

    low, high = 0.0, 20.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if imbalance(middle) < 0 else (low, middle)
    return around.m * math.exp(-low), around.tokens * math.exp(low)


def _lowest(function: object, low: float, high: float) -> float:
    """Golden-section search for the minimum of a function with one valley."""
    assert callable(function)
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(80):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if function(left) < function(right):
            high = right
        else:
            low = left
    return 0.5 * (low + high)
