"""Quality rules: each looks at one document and gives a reason to remove it, or None.

The measures follow the rules of MassiveText and RefinedWeb; the thresholds are our choice, loose enough that
documentation, mathematics and program text pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.corpus import kernels


@dataclass(frozen=True)
class Measures:
    """What the rules look at; shares are of the characters that are not white space."""

    characters: int
    letters: float
    symbols: float
    damaged: float
    long_words: float
    """In words of more than 40 characters: keys, hashes, base64."""
    repeated_ngrams: float
    """Share of word 5-grams that repeat an earlier one."""
    repeated_lines: float
    """Share of the characters in lines that repeat an earlier one."""


def measure(text: str, counts: npt.NDArray[np.int64], n_grams: int, n_distinct: int) -> Measures:
    """Measures of a document whose character classes and n-grams are already counted."""
    visible = max(int(counts[:6].sum() - counts[kernels.SPACE]), 1)
    return Measures(
        characters=len(text),
        letters=int(counts[kernels.WORD] + counts[kernels.SINGLE]) / visible,
        symbols=int(counts[kernels.OTHER]) / visible,
        damaged=int(counts[kernels.DAMAGED]) / visible,
        long_words=int(counts[6]) / visible,
        repeated_ngrams=1 - n_distinct / n_grams if n_grams else 0.0,
        repeated_lines=_repeated_lines(text),
    )


def _repeated_lines(text: str) -> float:
    seen: set[str] = set()
    total = repeated = 0
    for line in text.splitlines():
        line = line.strip()
        total += len(line)
        if line in seen:
            repeated += len(line)
        else:
            seen.add(line)
    return repeated / max(total, 1)


RULES: dict[str, Callable[[Measures], bool]] = {
    "damaged characters": lambda m: m.damaged > 0.005,
    "few letters": lambda m: m.letters < 0.4,
    "symbols": lambda m: m.symbols > 0.45,
    "encoded data": lambda m: m.long_words > 0.2,
    "repeated lines": lambda m: m.repeated_lines > 0.6,
    "repeated n-grams": lambda m: m.repeated_ngrams > 0.7,
}
"""Reason -> whether a document has to go. The first that fires is the one counted."""


def reason(measures: Measures, min_characters: int) -> str | None:
    """Why a document has to go, or None."""
    if measures.characters < min_characters:
        return "too short"
    return next((name for name, fires in RULES.items() if fires(measures)), None)
