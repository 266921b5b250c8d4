"""Rows whose size or tokens are a thousand or a million times off: the law of the others says so, and nothing else.

How large a count is proves nothing, since ladders span decades. A row is asked only where it stands apart from all
others, or where the table's own compute, or steps x batch, contradicts it by such a factor. Then the law through the
other rows decides: it must miss the row where it stands, and hold where the factor would put it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage

from forescale.base.records.laws import Surface
from forescale.scaling.pinned import fit_chinchilla
from forescale.scaling.places import best_of_places
from forescale.scaling.plausible import Names
from forescale.scaling.predictive import law_log_loss

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

POWERS = (-6, -3, 3, 6)
"""Factors 10**power by which one column may be off: counts are written in thousands, millions and billions."""
APART = math.log(10.0)
"""A row farther than this from every other in ln size or ln tokens stands apart."""
AGREES = math.log(2.0)
"""A contradiction is a factor of 1000 where it is within this of one."""
MOST = 0.3
"""Share of the rows that may be asked; of more, nobody knows which are the right ones."""
FEWEST, FEWEST_PLACES = 8, 3
"""Other rows that a law needs to judge by, and different sizes and token counts among them."""
MARGIN = math.log(3.0)
"""How far outside the others the corrected row may lie: a law is believed only among its own rows."""
SAME = 0.02
"""Sizes, or tokens, this close in logarithms are one."""
MISS, MISS_SDS = 0.04, 5.0
"""What the law must miss the row by, in ln loss and in robust sds of the others, where it stands ..."""
HIT, HIT_SDS, HIT_SHARE = 0.01, 3.0, 0.25
"""... and may miss it by where the factor would put it; at most this share of the former."""
GULF = math.log(100.0)
"""A row farther than this from every other needs no miss: no design leaves such a gap, and a law that ends before it
does not tell (the terms of size and tokens are small where both are large)."""


def misplaced(
    size: Array, tokens: Array, loss: Array, names: Names, said: Mapping[str, Array] | None = None
) -> dict[int, str]:  # fmt: skip
    """Position -> why, of rows that a factor of 1e3 or 1e6 in size or in tokens explains, and nothing else.

    `said`: what else the table says, as ln(its value / what size and tokens come to), nan where it says nothing.
    """
    x, y = np.log(size), np.log(tokens)
    contradicted = {name: _contradicted(logs) for name, logs in (said or {}).items()}
    asked = _apart(x, y)
    for found in contradicted.values():
        asked |= found
    rest = ~asked
    if not asked.any() or asked.sum() > MOST * len(x) or rest.sum() < FEWEST:
        return {}
    if min(len(np.unique(np.round(v[rest], 2))) for v in (x, y)) < FEWEST_PLACES:
        return {}
    best = best_of_places(x, y, loss, rest)
    law = fit_chinchilla(size[best], tokens[best], loss[best])
    left = np.log(loss[best]) - law_log_loss(law, size[best], tokens[best])
    sd = 1.4826 * float(np.median(np.abs(left - np.median(left))))
    reasons = {}
    for i in np.flatnonzero(asked):
        here = float(np.log(loss[i]) - law_log_loss(law, size[i : i + 1], tokens[i : i + 1])[0])
        allowed = max(HIT, HIT_SDS * sd)
        if np.maximum(np.abs(x[best] - x[i]), np.abs(y[best] - y[i])).min() < GULF:
            if abs(here) < max(MISS, MISS_SDS * sd):
                continue
            allowed = min(allowed, HIT_SHARE * abs(here))
        moves = [
            (name, power)
            for name in (names.size, names.tokens)
            for power in POWERS
            if _holds(law, x, y, loss, rest, int(i), name == names.size, power, allowed)
        ]
        if moves:
            reasons[int(i)] = _reason(moves, here, (float(size[i]), float(tokens[i])), names, [
                name for name, found in contradicted.items() if found[i]
            ])  # fmt: skip
    return reasons


def _apart(x: Array, y: Array) -> Bools:
    """Rows outside the largest group that steps of `APART` hold together."""
    if len(x) < FEWEST:
        return np.zeros(len(x), dtype=bool)
    places, back = np.unique(np.round(np.stack((x, y), axis=1), 3), axis=0, return_inverse=True)
    if len(places) < 2:
        return np.zeros(len(x), dtype=bool)
    groups = fcluster(linkage(places, "single", metric="chebyshev"), APART * (1 + 1e-6), "distance")[back.ravel()]
    return np.asarray(groups != np.bincount(groups).argmax())


def _contradicted(logs: Array) -> Bools:
    """Rows whose ln(said / counted) is a thousand or a million from that of most."""
    known = np.isfinite(logs)
    if known.sum() < FEWEST:
        return np.zeros(len(logs), dtype=bool)
    away = np.abs(logs - np.median(logs[known]))
    steps = [np.abs(away - power * math.log(10.0)) < AGREES for power in POWERS if power > 0]
    return np.asarray(known & np.logical_or.reduce(steps))


def _holds(
    law: Surface, x: Array, y: Array, loss: Array, rest: Bools, i: int, of_size: bool, power: int, allowed: float
) -> bool:
    """Whether a factor in one column puts the row among the others, and its loss on their law.

    Or between the losses of runs of that very size and length, which differ by rate, batch and seed.
    """
    step = power * math.log(10.0)
    a, b = (float(x[i]) + step, float(y[i])) if of_size else (float(x[i]), float(y[i]) + step)
    for value, others in ((a, x[rest]), (b, y[rest]), (b - a, (y - x)[rest])):
        if not others.min() - MARGIN <= value <= others.max() + MARGIN:
            return False
    like = loss[rest & (np.abs(x - a) < SAME) & (np.abs(y - b) < SAME)]
    if len(like) and like.min() <= loss[i] <= like.max():
        return True
    return abs(math.log(loss[i]) - float(law_log_loss(law, np.exp([a]), np.exp([b]))[0])) <= allowed


def _reason(
    moves: Sequence[tuple[str, int]], here: float, values: tuple[float, float], names: Names, against: Sequence[str]
) -> str:  # fmt: skip
    """Which column is off by what, how far the law misses the row, and what else says so."""
    options = []
    for name, power in moves:
        value = values[0] if name == names.size else values[1]
        times = "small" if power > 0 else "large"
        options.append(f"{name} is {value:.3g}, {10 ** abs(power):,} times too {times}? ({value * 10.0**power:.3g})")
    also = f"; {' and '.join(against)} say so too" if against else ""
    side = "above" if here > 0 else "below"
    miss = f"the loss lies {abs(math.expm1(here)):.0%} {side} the law of the other rows, and on it with that factor"
    return f"{' or '.join(options)}: {miss}{also}"
