"""Limited unique data and inference volume: where the optimal split moves away from the laws'.

Around the laws' optimum the reducible loss is a (M / M*)^-alpha + b (D / D*)^-beta, up to a factor, with a and b the
model's and the data's exponent: that is all that these two moves need, and every allocation law gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

R_DATA = 15.39
"""Repetitions after which repeated tokens have lost 1 - 1/e of their worth (Muennighoff 2023, arXiv 2305.16264)."""
R_MODEL = 5.31
"""The same for excess size (there)."""
HOPS = (12, 4, 1)
"""Steps of the search for a served size."""
STEP = 2.0**0.25
"""Factor between the token counts at which the best size is looked for."""


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


def effective(size: float, tokens: float, unique: float, once: float | None) -> tuple[float, float]:
    """Size and tokens that a run over `unique` tokens is worth, as if all its tokens were new (Muennighoff Eq. 5-6).

    `once` is the size that is optimal for `unique` tokens seen once: size beyond it loses worth too (None: not known,
    then only tokens do). Their Eq. 6 takes that from a run's first repeat on, and from a run without any: here it sets
    in with the share of tokens that are repeats, so that a first repeated token changes nothing at once (our choice).

    >>> effective(1e9, 2e10, 2e10, 1e8)
    (1000000000.0, 20000000000.0)
    """
    if tokens <= unique:
        return size, tokens
    worn = size if once is None else worth(size, once, R_MODEL)
    return size * (worn / size) ** (1.0 - unique / tokens), worth(tokens, unique)


def split_repeated(
    choices: Sequence[tuple[float, float]],
    unique: float,
    once: Callable[[float], float | None],
    loss: Callable[[float, float], float],
) -> int:
    """Which of `choices` (size and tokens of one compute, largest size first) loses least on `unique` tokens.

    The first is the split for plenty of tokens, and few tokens never make a run better: sizes for which `loss` is lower
    than for the first even with plenty are left out. All others are tried, for the loss has flat stretches: where size
    and repeats are both worn out it is level to the last digit, and a search for one valley ends anywhere. There the
    exact minimum also drifts back to larger models, for nothing, so the smallest best size on the way from plenty of
    tokens down to `unique` is kept. `once(tokens)`: the size that is optimal for so many tokens seen once.
    """
    plenty = [loss(*choice) for choice in choices]
    open_to = [i for i, value in enumerate(plenty) if value >= plenty[0]]
    best, left = 0, choices[0][1]
    while left > unique:
        left = max(unique, left / STEP)
        own = once(left)
        losses = [loss(*effective(*choices[i], left, own)) for i in open_to]
        best = max(best, open_to[losses.index(min(losses))])
    return best


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


def cheapest_served(
    sizes: Sequence[float],
    log_losses: Sequence[Callable[[float], float]],
    flops: float,
    serve: float,
    start: int,
    reach: int,
) -> tuple[int, float]:
    """Which of `sizes` (M, in order), trained on `flops`, none undercuts in training plus serving at its loss; and by
    what share one does, where each is undercut by some other (sizes that stand for shapes are no smooth line).

    `log_losses`: of each size by tokens, falling. From `start` it goes to the size that reaches that one's loss for
    least, looking `reach` to either side in wide steps and in narrow ones, and on from there until nothing changes;
    of sizes that undercut one another, that which is undercut least.
    """
    chosen, undercut = start, dict[int, float]()
    while chosen not in undercut:
        asked, known = chosen, dict[int, float]()
        target = log_losses[asked](flops / sizes[asked])

        def price(i: int, target: float = target, known: dict[int, float] = known) -> float:
            if i not in known:
                m = sizes[i]
                known[i] = m * (_tokens_for(log_losses[i], target, flops / m) + serve / 3.0)
            return known[i]

        for step in HOPS:
            before = -1
            while chosen != before:
                before = chosen
                near = range(chosen - reach * step, chosen + reach * step + 1, step)
                chosen = min((i for i in near if 0 <= i < len(sizes)), key=price)
        undercut[asked] = price(asked) / price(chosen)
    best = min(undercut, key=lambda i: undercut[i])
    return best, 1.0 - 1.0 / undercut[best]


def _tokens_for(log_loss: Callable[[float], float], target: float, near: float) -> float:
    """Tokens that bring a falling loss to `target`, within a factor of 100 of `near`; infinite where none do."""
    low, high = near / 100.0, near * 100.0
    if log_loss(high) > target:
        return math.inf
    for _ in range(18):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if log_loss(middle) > target else (low, middle)
    return high
