"""Sizes and tokens in another unit than the rest (3.2 where others say 3.2e9): set aside by row, or refused as a whole.

Thousands, millions and billions are 1e3 apart or more. Public ladders hold 1e5 to 7e10 parameters, and within one of
them tokens per parameter lie within 2,500x of their middle; the limits here are wider by a factor of ten or more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError

Array = npt.NDArray[np.float64]

FEW = 2e4
"""Counts below this may be millions or billions; a language model of so few parameters, or tokens, is hardly meant."""
GAP = 1e3
"""... and are, where the plain counts of the other rows are this many times larger."""
SPREAD = 3e4
"""Tokens per size this far from those of the rest, either way, are no training run of the same ladder."""
LEAST, MOST = 1e-4, 1e6
"""Tokens per size of a whole table: outside, one of the columns is in another unit."""
FEWEST = 3e3
"""Median size, or tokens, of a table below which its column holds no plain counts."""
BILLIONS = 8.0
"""A median size below this is in billions, above in millions: ladders end below 8e9, and begin above 8e6."""
NO_LOSS = 15.0
"""Nats per token, or bits per byte, that no language model has: guessing among a million tokens costs 13.8 nats."""
FEWEST_ROWS = 3
"""Rows that it takes to say what is usual in a table."""
USUAL = 1e9
"""FLOPs per token in the middle of what ladders hold, to guess a unit by."""
COMPUTE = {9: "GFLOPs", 12: "total TFLOPs", 15: "PFLOPs", 18: "EFLOPs", 21: "ZFLOPs", 24: "YFLOPs"}
WORDS = {3: "thousands", 6: "millions", 9: "billions", 12: "trillions"}


@dataclass(frozen=True)
class Names:
    """What size and tokens are called in the table, and the size among our own columns, for messages."""

    size: str
    tokens: str
    ours: str = "params"
    compute: str = ""
    """The column that the size was derived from, with the tokens, where the table has none of its own."""


def odd_units(size: Array, tokens: Array, names: Names) -> dict[int, str]:
    """Position -> why, of the rows whose size or tokens cannot be in the others' unit; a whole column is refused."""
    if len(size) < FEWEST_ROWS:
        return {}
    plain = ~(_few(size) | _few(tokens))
    if plain.sum() < FEWEST_ROWS:
        plain[:] = True
    middle = np.median(np.log(tokens[plain] / size[plain]))
    away = np.log(tokens / size) - middle
    odd = ~plain | (np.abs(away) > math.log(SPREAD))
    rest = ~odd
    if rest.sum() < FEWEST_ROWS:
        odd, rest = np.zeros_like(odd), np.ones_like(odd)
    _refuse_columns(size[rest], tokens[rest], names)
    usual = (float(np.exp(np.median(np.log(size[rest])))), float(np.exp(np.median(np.log(tokens[rest])))))
    return {int(i): _reason(float(size[i]), float(tokens[i]), usual, names) for i in np.flatnonzero(odd)}


def _few(values: Array) -> npt.NDArray[np.bool_]:
    """Counts that may be in millions or billions, beside others that are plain."""
    large = values[values >= FEW]
    if not len(large) or len(large) == len(values):
        return np.zeros(len(values), dtype=bool)
    return np.asarray((values < FEW) & (values * GAP < np.median(large)))


def _reason(size: float, tokens: float, usual: tuple[float, float], names: Names) -> str:
    """Which of the two is off, by what, and the unit that would bring it back."""
    parts = []
    for value, middle, name in ((size, usual[0], names.size), (tokens, usual[1], names.tokens)):
        power = 3 * round(math.log10(middle / value) / 3)
        if value < FEW and power in WORDS:
            parts.append(f"{name} is {value:.4g}, others about {middle:.2g}: in {WORDS[power]}?")
    if parts:
        return "; ".join(parts)
    ratio, other = tokens / size, usual[1] / usual[0]
    return (
        f"{names.tokens} per {names.size} is {ratio:.2g}, others about {other:.2g}: is one of them in another unit"
        f" ({names.size} {size:.3g}, {names.tokens} {tokens:.3g})?"
    )


def _refuse_columns(size: Array, tokens: Array, names: Names) -> None:
    """Exit 3 for a table whose columns, as they stand, are no plain counts."""
    n, d = float(np.median(size)), float(np.median(tokens))
    ratio = float(np.median(tokens / size))
    if names.compute and n < FEWEST:
        _refuse_compute(n, names)
    small = [(names.size, names.ours, n, 9 if n < BILLIONS else 6)] if n < FEWEST else []
    small += [(names.tokens, "tokens", d, 9)] if d < FEWEST else []
    if not small and LEAST <= ratio <= MOST:
        return
    if not small:  # one of the two is too small for the other
        small = [(names.tokens, "tokens", d, 6)] if ratio < LEAST else [(names.size, names.ours, n, 6)]
    said = " and ".join(f"`{name}` is around {middle:.3g}" for name, _, middle, _ in small)
    options = " ".join(f"{ours}='1e{power}*{name}'" for name, ours, _, power in small)
    raise InputError(
        f"{said}: are these {' and '.join(WORDS[power] for *_, power in small)}? Plain counts are needed",
        why=f"no training run is of so few, and tokens per size would be {ratio:.2g}",
        remedy=f"say the unit: --column {options} (or another factor), or in the header: `Params (M)`, `Tokens (B)`",
        key=small[0][0],
    )


def _refuse_compute(size: float, names: Names) -> NoReturn:
    """Exit 3 for compute that, over the tokens, comes to no FLOPs per token of a model."""
    power = 3 * round((math.log10(USUAL) - math.log10(size)) / 3)
    unit = COMPUTE.get(power, f"units of 1e{power}")
    raise InputError(
        f"`{names.compute}` over `{names.tokens}` is around {size:.3g} FLOPs per token: is `{names.compute}` in {unit}?"
        " Plain FLOPs are needed",
        why="the table has no size, so it is compute over tokens, and no model takes so few",
        remedy=f"say the unit: --column flops='1e{power}*{names.compute}' (or another factor), or in the header:"
        f" `{COMPUTE.get(power, 'EFLOPs')}`",
        key=names.compute,
    )
