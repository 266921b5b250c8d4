"""Does a text repeat one sequence endlessly? (paper 6.2: the repetition ratio)."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

MIN_REPEATS = 3
"""A sequence must stand at the end at least this often (our choice; the paper gives no rule)."""
MIN_LENGTH = 24
"""... and fill at least this many characters or ids, so that `...` and a ruled line are no loop (our choice)."""


def tail_period(items: Sequence[Hashable], *, min_repeats: int = MIN_REPEATS, min_length: int = MIN_LENGTH) -> int:
    """Shortest period with which the end of `items` repeats; 0: it does not.

    The end repeats with period p when the longest ending in which every item equals the one p before holds at least
    `min_repeats` whole periods and `min_length` items. Linear time, by the Z function of the reversed sequence.

    >>> tail_period("and so on: abcabcabcabcabcabcabcabcabc", min_length=12)
    3
    >>> tail_period("an end.")
    0
    """
    reversed_items = items[::-1]
    for period, match in enumerate(_z(reversed_items)):
        covered = period + match
        if period and covered >= min_repeats * period and covered >= min_length:
            return period
    return 0


def repeats(text: str) -> bool:
    """Whether the end of `text` is one sequence over and over; counting up (`| 1300 |`, `| 1310 |`) is no change."""
    return tail_period(re.sub(r"\d+", "0", text)) > 0


def _z(items: Sequence[Hashable]) -> list[int]:
    """Z function: for each shift, how many items equal the beginning."""
    n = len(items)
    z = [0] * n
    left = right = 0
    for i in range(1, n):
        if i < right:
            z[i] = min(right - i, z[i - left])
        while i + z[i] < n and items[z[i]] == items[i + z[i]]:
            z[i] += 1
        if i + z[i] > right:
            left, right = i, i + z[i]
    return z
